"""Model configuration with checks of each field, and parameter count."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from minidiff.files.checks import (
    flag,
    number,
    one_of,
    positive,
    positive_int,
)
from minidiff.files.limits import LIMITS, check_limit
from minidiff.nn.layers import swiglu_width

KINDS = ("softmax", "diff", "diff_v2")
SECOND_MAPS = ("subtract", "add", "off")


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Configuration of a decoder.

    Two matched models differ in ``attention`` only. Heads are counted as in
    the softmax model: "diff" and "diff_v2" combine them in pairs, so they
    have H = num_heads / 2 differential heads with the same D.
    """

    vocab_size: int = 256  # bytes, which need no trained tokenizer
    embed_dim: int = 256  # E; trains on a laptop
    num_layers: int = 4  # enough for lambda_init to climb from 0.2 to 0.56
    num_heads: int = 8  # D = 32; fewer pairs than the 8 the authors advise
    # None: as many as query heads. "diff" halves this number, like num_heads.
    # "diff_v2" does not halve it; with None it has one for each pair.
    num_kv_heads: int | None = None
    attention: str = "diff"  # this package's subject
    ffn_dim: int | None = None  # 8/3 E, as in the paper
    max_length: int = 256  # longest sequence; a laptop's training window
    rope_base: float = 10000.0  # customary; paper has none for short texts
    norm_eps: float = 1e-5  # that of the official head norm
    tie_embeddings: bool = True  # the paper's sizes count one embedding
    # Headwise RMSNorm of the attention's output. None is the published choice:
    # on for "diff", off for "softmax". Other choices are rows of Table 6.
    head_norm: bool | None = None
    lam_init: float | None = None  # "diff" only; None: lambda_init(depth)
    # "diff" only. "add" and "off" (lambda = 0) are controls: they separate the
    # effect of the subtraction from that of the rest of the module.
    second_map: str = "subtract"

    def __post_init__(self) -> None:
        """Raise a ValueError or TypeError that names the first bad field."""
        for name in (
            "vocab_size",
            "embed_dim",
            "num_layers",
            "num_heads",
            "max_length",
        ):
            positive_int(name, getattr(self, name))
        for name in ("num_kv_heads", "ffn_dim"):
            if getattr(self, name) is not None:
                positive_int(name, getattr(self, name))
        for name in LIMITS:
            check_limit(name, getattr(self, name) or 1)
        flag("tie_embeddings", self.tie_embeddings)
        for name in ("rope_base", "norm_eps"):
            positive(name, getattr(self, name), kinds=(int, float))
        one_of("attention", self.attention, KINDS)
        self._check_heads()
        self._check_head_norm()
        self._check_second_map()
        if self.lam_init is None:
            return
        number("lam_init", self.lam_init, kinds=(int, float))
        if self.attention != "diff" or not 0 <= self.lam_init < 1:
            raise ValueError(
                f"lam_init: got {self.lam_init} with attention="
                f"{self.attention!r}, expected None, or 0 <= lam_init < 1 "
                "with 'diff'"
            )

    def _check_heads(self) -> None:
        if self.attention != "softmax" and self.num_heads % 2:
            raise ValueError(
                f"num_heads: got {self.num_heads}, expected an even number: "
                f"{self.attention!r} pairs the heads up"
            )
        if self.embed_dim % (2 * self.num_heads):
            raise ValueError(
                f"embed_dim, num_heads: got {self.embed_dim} and "
                f"{self.num_heads}, expected embed_dim to be a multiple of "
                f"2 x num_heads = {2 * self.num_heads}, so that the head "
                "width is even as rotary positions need"
            )
        n = self.num_kv_heads
        if n is None:
            return
        if self.attention == "diff" and n % 2:
            raise ValueError(
                f"num_kv_heads: got {n}, expected an even number: 'diff' "
                "pairs key heads up"
            )
        # "diff" halves both counts, so dividing the plain heads is enough.
        H = self.heads if self.attention == "diff_v2" else self.num_heads
        if H % n:
            raise ValueError(
                f"num_kv_heads: got {n}, expected a divisor of {H}, the "
                f"heads that {self.attention!r} shares them among"
            )

    def _check_head_norm(self) -> None:
        if self.head_norm is not None:
            flag("head_norm", self.head_norm)
        if self.attention == "diff_v2" and self.head_norm:
            raise ValueError(
                "head_norm: got True with attention='diff_v2', expected False "
                "or None: V2 has no head norm"
            )

    def _check_second_map(self) -> None:
        one_of("second_map", self.second_map, SECOND_MAPS)
        if self.attention != "diff" and self.second_map != "subtract":
            raise ValueError(
                f"second_map: got {self.second_map!r} with attention="
                f"{self.attention!r}, expected 'subtract'; only 'diff' has a "
                "choice"
            )

    @property
    def normed(self) -> bool:
        """Whether each head's output is normalised."""
        if self.head_norm is None:
            return self.attention == "diff"
        return self.head_norm

    @property
    def head_dim(self) -> int:
        """D, the width of one query/key branch."""
        return self.embed_dim // self.num_heads

    @property
    def heads(self) -> int:
        """Heads of the attention module: H = num_heads / 2 if differential."""
        paired = self.attention != "softmax"
        return self.num_heads // 2 if paired else self.num_heads

    @property
    def kv_heads(self) -> int:
        """Key/value heads of the attention module, counted like `heads`."""
        if self.num_kv_heads is None:
            return self.heads
        paired = self.attention == "diff"
        return self.num_kv_heads // 2 if paired else self.num_kv_heads

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as a dict that JSON can hold."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "ModelConfig":
        """Build a config from ``to_dict``'s result; refuse unknown keys."""
        if not isinstance(values, Mapping):
            raise TypeError(
                f"values: got {type(values).__name__}, expected a dict of the "
                "fields"
            )
        known = [f.name for f in fields(cls)]
        unknown = sorted(set(values) - set(known))
        if unknown:
            raise ValueError(
                f"values: got unknown {', '.join(unknown)}, expected only "
                f"{', '.join(known)}"
            )
        return cls(**values)


def count_parameters(config: ModelConfig) -> int:
    """Return the number of parameters of ``DecoderLM(config)``.

    The number is computed by formula, without building the model. With
    Hkv = num_kv_heads key/value heads, the attention of one layer has

    - "softmax": 2 E^2 + 2 E Hkv D, and with a head norm D more;
    - "diff": 2 E^2 + 2 E Hkv D + 4D (lambda) + 2D (head norm);
    - "diff_v2": 3/2 E^2 + 2 E Hkv D + E H: W_O has only half the size, and
      W_lambda adds E H. If num_kv_heads is None, Hkv is H here.
    """
    E, D = config.embed_dim, config.head_dim
    query, out = E * E, E * E
    kv_width = config.kv_heads * D * (2 if config.attention == "diff" else 1)
    extra = 0
    if config.attention == "softmax":
        extra = D if config.normed else 0
    elif config.attention == "diff":
        extra = (6 if config.normed else 4) * D
    else:
        out, extra = E * E // 2, E * config.heads
    attention = query + 2 * E * kv_width + out + extra
    ffn = 3 * E * (config.ffn_dim or swiglu_width(E))
    embeddings = config.vocab_size * E * (1 if config.tie_embeddings else 2)
    return embeddings + config.num_layers * (attention + ffn + 2 * E) + E
