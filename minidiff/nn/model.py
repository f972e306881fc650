"""The decoder: a language model whose attention is chosen by name."""

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, linear

from minidiff.data.protocol import IGNORE
from minidiff.nn.attention import (
    MultiheadAttention,
    MultiheadDiffAttention,
    MultiheadDiffAttentionV2,
)
from minidiff.nn.cache import KVCache
from minidiff.nn.config import ModelConfig
from minidiff.nn.layers import RMSNorm, SwiGLU, rope_angles
from minidiff.nn.multihead import MultiheadBase
from minidiff.ops import AttentionMaps
from minidiff.ops.readable import is_readable
from minidiff.ops.wide import wide


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
        cos, sin = rope_angles(
            config.max_length, config.head_dim, config.rope_base
        )
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)

    def num_parameters(self) -> int:
        """Return the number of parameters; tied ones count once."""
        return sum(p.numel() for p in self.parameters())

    def new_cache(
        self,
        batch_size: int,
        capacity: int | None = None,
        *,
        dtype: torch.dtype | None = None,
    ) -> list[KVCache]:
        """Make an empty cache, a list with one KVCache for each layer.

        ``capacity`` is in tokens; by default the model's max_length. ``dtype``
        is the weights' own by default.
        """
        if capacity is None:
            capacity = self.config.max_length
        parts = []
        for block in self.blocks:
            assert isinstance(block, Block)
            parts.append(
                block.attention.new_cache(batch_size, capacity, dtype=dtype)
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
        matrix = self.embedding if self.head is None else self.head
        logits = linear(self.norm(x), matrix.weight)
        return (logits, maps) if return_maps else logits

    def loss(
        self, tokens: Tensor, targets: Tensor, backend: str = "auto"
    ) -> Tensor:
        """Return the mean cross-entropy in nats, 0-d, float32 or wider.

        tokens and targets are (B, T), targets int64; targets equal to -100
        are ignored. Raises ValueError or TypeError for other shapes or
        dtypes and, on a CPU, for invalid ids or if no target counts.
        """
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
            counted = targets[targets != IGNORE]
            if counted.numel() == 0:
                raise ValueError(
                    f"targets: every one is {IGNORE}, expected at least one "
                    "that counts"
                )
            self._check_range("targets", counted)
        logits = self(tokens, backend=backend)
        return cross_entropy(
            wide(logits).flatten(0, 1),
            targets.flatten(),
            ignore_index=IGNORE,
        )

    def _check(self, tokens: Tensor, cache: list[KVCache] | None) -> int:
        """Check the arguments; return the position of the first token."""
        if not isinstance(tokens, Tensor):
            raise TypeError(
                f"tokens: got {type(tokens).__name__}, expected a tensor"
            )
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
            if len(cache) != len(self.blocks):
                raise ValueError(
                    f"cache: got {len(cache)} parts, expected one for each "
                    f"of {len(self.blocks)} layers"
                )
            start = cache[0].length
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
