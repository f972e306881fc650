"""The family of differential attention: variants over one operator.

Each function computes the heads' output before any norm, (B, H, T, Dv). The
classes put it in a layer that :class:`minidiff.DecoderLM` can train, with the
lambda, head norm and factor 1 - lam_init of V1 where the variant has them.
Where a variant's publication was not read in full, the choice is ours:
book/bibliography.md says what was verified.
"""

from typing import Any

import torch
from torch import Tensor, nn

from minidiff.nn.attention import MultiheadAttention, MultiheadDiffAttention
from minidiff.nn.multihead import MultiheadBase
from minidiff.ops import AttentionMaps, attention_maps, diff_attention
from minidiff.ops.epilogue import finish
from minidiff.ops.logits import masked_softmax, scaled_logits
from minidiff.ops.masks import visible
from minidiff.ops.wide import wide


def with_noise(q: Tensor) -> Tensor:
    """Pair each signal query with the noise query of its group.

    q (B, G, r + 1, T, D) holds r signal queries and one noise query for each
    of G groups. The result is (B, G r, 2, T, D).
    """
    signal, noise = q[:, :, :-1], q[:, :, -1:].expand_as(q[:, :, :-1])
    return torch.stack((signal, noise), 3).flatten(1, 2)


def grouped(q: Tensor, k: Tensor, v: Tensor, lam: float | Tensor) -> Tensor:
    """Grouped differential attention: r signal maps share one noise map.

    q (B, G, r + 1, T, D), k (B, G, 2, S, D), v (B, G, S, Dv): the r heads of
    a group share its signal keys, noise keys and values.
    """
    return diff_attention(with_noise(q), k, v, lam)


def running_mean(x: Tensor) -> Tensor:
    """Return the mean of rows 0 to t, for each row t of x (..., T, Dv)."""
    T = x.shape[-2]
    counts = torch.arange(1, T + 1, device=x.device, dtype=x.dtype)
    return x.cumsum(-2) / counts[:, None]


def dint(q: Tensor, k: Tensor, v: Tensor, lam: float) -> Tensor:
    """DINT: ``(A1 - lam A2 + lam G) v``, G the running mean of A1's rows.

    The rows of the map sum to 1. T = S, because a query's G needs the rows
    of all queries before it.
    """
    first = diff_attention(q, k, v, 0.0)
    return diff_attention(q, k, v, lam) + lam * running_mean(first)


def one_head(x: Tensor) -> Tensor:
    """Join the S signals of x (B, H, S, T, D): (B, H, T, S D).

    With queries and keys joined so, softmax attention with its usual scale
    has the mean of the S signals' logits.
    """
    S = x.shape[2]
    return x.transpose(2, 3).flatten(3) / S**0.25


def cog(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Cog attention: ``(sign(P) softmax(|P|)) v``, P the causal logits.

    q (B, H, T, D), k (B, H, S, D), v (B, H, S, Dv). One map with signs.
    """
    return cog_map(q, k) @ v


def cog_map(q: Tensor, k: Tensor) -> Tensor:
    """Return Cog's map (B, H, T, S); absolute weights of a row sum to 1."""
    logits = scaled_logits(q, k, q.shape[-1] ** -0.5)
    mask = visible(q.shape[-2], k.shape[-2], True, None, q.device)
    return logits.sign() * masked_softmax(logits.abs(), mask)


class GroupedAttention(MultiheadDiffAttention):
    """V1 with one noise query for ``ratio`` signal queries.

    ``embed_dim / D`` queries are split into groups of ``ratio`` signals and
    one noise; a group has one pair of keys and one value head of width 2D.
    """

    def __init__(
        self, embed_dim: int, num_heads: int, *, ratio: int = 3, **kwargs: Any
    ) -> None:
        super().__init__(embed_dim, num_heads, **kwargs)
        D, groups = self.q_shape[-1], 2 * num_heads // (ratio + 1)
        if 2 * num_heads % (ratio + 1):
            raise ValueError(
                f"ratio: got {ratio}, expected ratio + 1 to divide the "
                f"{2 * num_heads} queries"
            )
        self.q_shape = (groups, ratio + 1, D)
        self.k_shape, self.v_shape = (groups, 2, D), (groups, 2 * D)
        linear = nn.Linear
        self.k_proj = linear(embed_dim, groups * 2 * D, bias=False)
        self.v_proj = linear(embed_dim, groups * 2 * D, bias=False)
        self.out_proj = linear(groups * ratio * 2 * D, embed_dim, bias=False)

    def attend(  # type: ignore[override]  # it takes no codes
        self,
        x: Tensor,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        key_lengths: Tensor | None,
        backend: str,
    ) -> Tensor:
        """Return the normalised output of the signal heads."""
        q = with_noise(q)
        return super().attend(x, q, k, v, key_lengths, backend)

    def maps(
        self, x: Tensor, q: Tensor, k: Tensor, key_lengths: Tensor | None
    ) -> AttentionMaps:
        """Return A1, A2 and A1 - lam A2 of the signal heads."""
        return super().maps(x, with_noise(q), k, key_lengths)


class DintAttention(MultiheadDiffAttention):
    """V1 with the running mean of the first map's rows added."""

    def attend(  # type: ignore[override]  # it takes no codes
        self,
        x: Tensor,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        key_lengths: Tensor | None,
        backend: str,
    ) -> Tensor:
        """Return the normalised output of the heads, (B, H, T, 2D)."""
        _without_cache(q, k)
        lam = self.lam()
        first, out = (
            wide(
                diff_attention(
                    *(q, k, v, factor),
                    key_lengths=key_lengths,
                    backend=backend,
                )
            )
            for factor in (0.0, lam)
        )
        out = out + lam * running_mean(first)
        weight, scale = self.norm_weight, self.norm_scale
        return finish(out, q.dtype, weight, scale, self.norm_eps)

    def maps(
        self, x: Tensor, q: Tensor, k: Tensor, key_lengths: Tensor | None
    ) -> AttentionMaps:
        """Return A1, A2 and A1 - lam A2 + lam G."""
        _without_cache(q, k)
        lam = self.lam()
        A1, A2, A = attention_maps(q, k, lam, key_lengths=key_lengths)
        return AttentionMaps(A1, A2, A + lam * running_mean(A1))


class IntegralAttention(MultiheadAttention):
    """One softmax of the mean logits of two signals of width D.

    Queries and keys have V1's shapes, so rotary positions turn each signal
    for itself; values are 2D wide, and there is no lambda and no norm.
    """

    def __init__(self, embed_dim: int, num_heads: int, **kwargs: Any) -> None:
        super().__init__(embed_dim, num_heads, **kwargs)
        D = embed_dim // (2 * num_heads)
        self.q_shape = self.k_shape = (num_heads, 2, D)

    def attend(
        self,
        x: Tensor,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        key_lengths: Tensor | None,
        backend: str,
    ) -> Tensor:
        """Return the output of the heads, (B, H, T, 2D)."""
        if backend != "eager":  # eager calls maps, which joins the signals
            q, k = one_head(q), one_head(k)
        return super().attend(x, q, k, v, key_lengths, backend)

    def maps(
        self, x: Tensor, q: Tensor, k: Tensor, key_lengths: Tensor | None
    ) -> Tensor:
        """Return the map (B, H, T, S)."""
        return super().maps(x, one_head(q), one_head(k), key_lengths)


class CogAttention(MultiheadAttention):
    """Plain heads whose weights take the signs of their logits."""

    def attend(
        self,
        x: Tensor,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        key_lengths: Tensor | None,
        backend: str,
    ) -> Tensor:
        """Return the output of the heads, (B, H, T, D); no fused backend."""
        _no_padding(key_lengths)
        return cog(q, k, v.to(wide(q).dtype)).to(q.dtype)

    def maps(
        self, x: Tensor, q: Tensor, k: Tensor, key_lengths: Tensor | None
    ) -> Tensor:
        """Return the map (B, H, T, S)."""
        _no_padding(key_lengths)
        return cog_map(q, k)


LAYERS: dict[str, type[MultiheadBase]] = {
    "grouped": GroupedAttention,
    "DINT": DintAttention,
    "Integral": IntegralAttention,
    "Cog": CogAttention,
}


def _without_cache(q: Tensor, k: Tensor) -> None:
    if q.shape[-2] != k.shape[-2]:
        raise ValueError(
            f"cache: got {q.shape[-2]} queries for {k.shape[-2]} keys, "
            "expected as many: DINT's running mean needs the rows of all "
            "earlier queries, which a cache of keys and values does not hold"
        )


def _no_padding(key_lengths: Tensor | None) -> None:
    if key_lengths is not None:
        raise ValueError("key_lengths: not supported by Cog attention here")
