"""The decoder: a language model whose attention is chosen by name."""

from collections.abc import Callable
from threading import Lock
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, linear
from torch.types import Device

from minidiff.data.protocol import IGNORE
from minidiff.files.checks import flag, shown
from minidiff.nn.attention import (
    MultiheadAttention,
    MultiheadDiffAttention,
    MultiheadDiffAttentionV2,
)
from minidiff.nn.cache import KVCache
from minidiff.nn.config import ModelConfig
from minidiff.nn.dtypes import check_one_dtype
from minidiff.nn.layers import RMSNorm, SwiGLU, rope_angles
from minidiff.nn.multihead import MultiheadBase
from minidiff.ops import AttentionMaps
from minidiff.ops.arguments import check_tensor
from minidiff.ops.readable import is_readable
from minidiff.ops.wide import wide

_building = Lock()  # PyTorch's default dtype is that of all threads


def _after_loading(model: nn.Module, keys: object) -> None:
    """Fill the rotary tables of a model on meta that was given its weights."""
    assert isinstance(model, DecoderLM)
    if model.cos.is_meta:
        model._fill_angles()


def ordinary_model(config: ModelConfig) -> "DecoderLM":
    """Build a model in float32 on the CPU, whatever PyTorch's defaults are."""
    with _building:
        before = torch.get_default_dtype()
        torch.set_default_dtype(torch.float32)
        try:
            with torch.device("cpu"), torch.inference_mode(False):
                return DecoderLM(config)
        finally:
            torch.set_default_dtype(before)


def build_attention(config: ModelConfig, depth: int) -> MultiheadBase:
    """Build the attention module of layer ``depth``, counted from 0."""
    sizes = (config.embed_dim, config.heads, config.kv_heads)
    if config.attention == "softmax":
        return MultiheadAttention(
            *sizes, head_norm=config.normed, norm_eps=config.norm_eps
        )
    if config.attention == "diff_v2":
        return MultiheadDiffAttentionV2(*sizes)
    return MultiheadDiffAttention(
        *sizes,
        depth=depth,
        head_norm=config.normed,
        lam_init=config.lam_init,
        norm_eps=config.norm_eps,
        second_map=config.second_map,
    )


class Block(nn.Module):
    """One layer: ``y = x + Attention(Norm(x))``, ``y + SwiGLU(Norm(y))``.

    Ye et al. 2025, section 2.1 (pre-norm). Input and output are (B, T, E).
    """

    def __init__(self, config: ModelConfig, depth: int) -> None:
        super().__init__()
        E, eps = config.embed_dim, config.norm_eps
        self.attention_norm = RMSNorm(E, eps=eps)
        self.attention = build_attention(config, depth)
        self.ffn_norm = RMSNorm(E, eps=eps)
        self.ffn = SwiGLU(E, config.ffn_dim)

    def forward(
        self,
        x: Tensor,
        rope: tuple[Tensor, Tensor],
        cache: KVCache | None = None,
        return_maps: bool = False,
        backend: str = "auto",
    ) -> tuple[Tensor, AttentionMaps | Tensor | None]:
        """Return (B, T, E) and the maps, or None without return_maps."""
        out = self.attention(
            self.attention_norm(x),
            rope=rope,
            cache=cache,
            return_maps=return_maps,
            backend=backend,
        )
        out, maps = out if return_maps else (out, None)
        y = x + out
        return y + self.ffn(self.ffn_norm(y)), maps


class DecoderLM(nn.Module):
    """A decoder-only language model: embedding, blocks, norm, logits.

    Its blocks are pre-norm, with SwiGLU and RoPE, as in Ye et al. 2025.
    Matrices are initialised from N(0, 0.02^2), a common choice; the paper
    does not state its initialisation.
    """

    cos: Tensor  # (max_length, D / 2); cos and sin of RoPE's angles
    sin: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.embed_dim)
        self.blocks = nn.ModuleList(
            Block(config, depth) for depth in range(config.num_layers)
        )
        self.norm = RMSNorm(config.embed_dim, eps=config.norm_eps)
        # If tied, the embedding is also the head, and is saved only once.
        self.head = (
            None
            if config.tie_embeddings
            else nn.Linear(config.embed_dim, config.vocab_size, bias=False)
        )
        for name, table in zip(("cos", "sin"), self._angles(), strict=True):
            self.register_buffer(name, table, persistent=False)
        self.register_load_state_dict_post_hook(_after_loading)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)

    def _angles(self) -> tuple[Tensor, Tensor]:
        config = self.config
        return rope_angles(
            config.max_length, config.head_dim, config.rope_base
        )

    @torch.no_grad()
    def _fill_angles(self) -> None:
        """Compute the rotary tables again, on the device of the weights.

        They are not in a state dict, so nobody else fills them.
        """
        device = next(self.parameters()).device
        for name, table in zip(("cos", "sin"), self._angles(), strict=True):
            setattr(self, name, table.to(device, getattr(self, name).dtype))

    def to_empty(self, *, device: Device, recurse: bool = True) -> Self:
        """Move without copying, as in nn.Module, but keep rotary angles."""
        super().to_empty(device=device, recurse=recurse)
        self._fill_angles()
        return self

    def _apply(
        self, fn: Callable[[Tensor], Tensor], recurse: bool = True
    ) -> Self:
        blank = self.cos.is_meta
        super()._apply(fn, recurse)
        if blank and not self.cos.is_meta:  # as part of a larger module
            self._fill_angles()
        return self

    def num_parameters(self) -> int:
        """Return the number of parameters; tied ones count once."""
        return sum(p.numel() for p in self.parameters())

    def new_cache(
        self,
        batch_size: int,
        capacity: int | None = None,
        *,
        dtype: torch.dtype | None = None,
        budget: int | None = None,
        precision: str | None = None,
    ) -> list[KVCache]:
        """Make an empty cache, a list with one KVCache for each layer.

        ``capacity`` is in tokens; by default the model's max_length. Dtype
        and device are those of the first keys, unless ``dtype`` is given.
        ``budget`` is the number of keys that :meth:`KVCache.evict` keeps, and
        ``precision`` "int8" or "fp8" stores keys and values in 8 bits.
        """
        if capacity is None:
            capacity = self.config.max_length
        parts = []
        for block in self.blocks:
            attention = block.get_submodule("attention")
            assert isinstance(attention, MultiheadBase)
            parts.append(
                attention.new_cache(
                    batch_size,
                    capacity,
                    dtype=dtype,
                    budget=budget,
                    precision=precision,
                )
            )
        return parts

    def forward(
        self,
        tokens: Tensor,
        cache: list[KVCache] | None = None,
        return_maps: bool = False,
        backend: str = "auto",
        positions: Tensor | None = None,
    ) -> Tensor | tuple[Tensor, list[AttentionMaps | Tensor]]:
        """Return the logits (B, T, vocab_size) of the next token.

        Parameters
        ----------
        tokens : (B, T) integers
        cache : list of KVCache, optional
            From ``new_cache``. ``tokens`` continue the cached tokens and are
            added to the cache.
        return_maps : bool
            Also return a list with the attention maps of each layer:
            AttentionMaps, or one tensor for "softmax"; each (B, heads, T, S).
        backend : str
            Backend of the attention, as in :func:`minidiff.diff_attention`.
        positions : (B, Q) int64, optional
            Compute the logits at these positions only; the result is then
            (B, Q, vocab_size). This saves most of the work if few targets
            count and the vocabulary is large.
        """
        start = self._check(tokens, cache)
        flag("return_maps", return_maps)
        if positions is not None:
            check_tensor("positions", positions, "(B, Q) of int64", 2)
            if positions.dtype != torch.int64:
                raise TypeError(
                    f"positions: got dtype {positions.dtype}, expected int64"
                )
        given = tokens, start, cache, return_maps, backend, positions
        try:
            return self._run(*given)
        except BaseException as error:
            # All layers as before, or a repeated call would append twice.
            for part in cache or ():
                part.length = start
            if "dtype" in str(error):
                check_one_dtype(self)
            raise

    def _run(
        self,
        tokens: Tensor,
        start: int,
        cache: list[KVCache] | None,
        return_maps: bool,
        backend: str,
        positions: Tensor | None,
    ) -> Tensor | tuple[Tensor, list[AttentionMaps | Tensor]]:
        stop = start + tokens.shape[1]
        rope = self.cos[start:stop], self.sin[start:stop]
        x = self.embedding(tokens)
        maps = []
        for i, block in enumerate(self.blocks):
            part = None if cache is None else cache[i]
            x, block_maps = block(x, rope, part, return_maps, backend)
            maps.append(block_maps)
        if positions is not None:
            x = x.take_along_dim(positions[..., None], dim=1)
        logits = self._logits(self.norm(x))
        return (logits, maps) if return_maps else logits

    def _logits(self, x: Tensor) -> Tensor:
        if self.head is not None:
            return self.head(x)
        if isinstance(self.embedding, nn.Embedding) and (
            type(self.embedding).forward is nn.Embedding.forward
        ):
            return linear(x, self.embedding.weight)
        # An adapter: multiply with what it returns for every token.
        ids = torch.arange(self.config.vocab_size, device=x.device)
        return linear(x, self.embedding(ids).to(x.dtype))

    def loss(
        self,
        tokens: Tensor,
        targets: Tensor,
        backend: str = "auto",
        counted: Tensor | None = None,
    ) -> Tensor:
        """Return the mean cross-entropy in nats, 0-d, float32 or wider.

        tokens and targets are (B, T), targets int64; targets equal to -100
        are ignored. If the rows are a part of a batch, ``counted`` is the
        number of targets that count in the whole batch: the result is this
        part's share of the mean, which is 0 if none of its targets counts.

        Raises ValueError or TypeError for other shapes or dtypes and, on a
        CPU, for invalid ids or if no target counts and ``counted`` is not
        given.
        """
        check_tensor("tokens", tokens, "(B, T) of integers", 2)
        check_tensor("targets", targets, "(B, T) of int64")
        if counted is not None:
            check_tensor("counted", counted, "0-d", 0)
        if targets.shape != tokens.shape:
            raise ValueError(
                f"targets: got shape {tuple(targets.shape)}, expected "
                f"{tuple(tokens.shape)} as tokens"
            )
        if targets.dtype != torch.int64:
            raise TypeError(
                f"targets: got dtype {targets.dtype}, expected int64"
            )
        if is_readable(targets):
            found = targets[targets != IGNORE]
            if found.numel():
                self._check_range("targets", found)
            elif counted is None:
                raise ValueError(
                    f"targets: every one is {IGNORE}, expected at least one "
                    "that counts"
                )
        logits = self(tokens, backend=backend)
        loss = cross_entropy(
            wide(logits).flatten(0, 1),
            targets.flatten(),
            ignore_index=IGNORE,
            reduction="mean" if counted is None else "sum",
        )
        return loss if counted is None else loss / counted

    def _check(self, tokens: Tensor, cache: list[KVCache] | None) -> int:
        """Check the arguments; return the position of the first token."""
        check_tensor("tokens", tokens, "(B, T) of integers")
        if tokens.dtype not in (torch.int32, torch.int64):
            raise TypeError(
                f"tokens: got dtype {tokens.dtype}, expected int32 or int64"
            )
        if tokens.ndim != 2 or 0 in tokens.shape:
            raise ValueError(
                f"tokens: got shape {tuple(tokens.shape)}, expected (B, T) "
                "with B, T >= 1"
            )
        start = 0
        if cache is not None:
            if not isinstance(cache, list | tuple) or not all(
                isinstance(part, KVCache) for part in cache
            ):
                raise TypeError(
                    f"cache: got {shown(cache)}, expected a list with a "
                    "KVCache for each layer, made by new_cache"
                )
            if len(cache) != len(self.blocks):
                raise ValueError(
                    f"cache: got {len(cache)} parts, expected one for each "
                    f"of {len(self.blocks)} layers"
                )
            for part in cache:
                part.check("tokens", tokens)
            start = cache[0].length
            lengths = [part.length for part in cache]
            if any(length != start for length in lengths):
                raise ValueError(
                    f"cache: got layers that hold {lengths} tokens, expected "
                    "the same number in all: a call stopped midway, or a part "
                    "belongs to another cache"
                )
        stop = start + tokens.shape[1]
        if stop > self.config.max_length:
            raise ValueError(
                f"tokens: got a sequence of {stop} tokens, expected at most "
                f"max_length = {self.config.max_length}"
            )
        if is_readable(tokens):
            self._check_range("tokens", tokens)
        return start

    def _check_range(self, name: str, ids: Tensor) -> None:
        low, high = int(ids.min()), int(ids.max())
        if low < 0 or high >= self.config.vocab_size:
            raise ValueError(
                f"{name}: got ids from {low} to {high}, expected 0 to "
                f"{self.config.vocab_size - 1}"
            )
