"""Base class of multi-head attention: projections, positions and cache."""

from inspect import signature
from math import prod
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from minidiff.files.checks import flag, positive_int, shown
from minidiff.nn.cache import KVCache
from minidiff.nn.dtypes import check_input_dtype
from minidiff.nn.layers import apply_rope
from minidiff.nn.plain import float_dtype
from minidiff.ops import AttentionMaps
from minidiff.ops.arguments import check_tensor
from minidiff.ops.autocast import autocast_dtype


class MultiheadBase(nn.Module):
    """Base class of the three kinds: projections, positions and the cache.

    A subclass implements ``attend`` and ``maps``. q_shape, k_shape and
    v_shape are the shapes of one token's queries, keys and values: heads
    first, width last. If its ``attend`` also takes k_scale and v_scale, it
    gets the codes of a cache in 8 bits; otherwise they are restored for it.
    """

    reads_codes: ClassVar[bool] = False

    def __init_subclass__(cls) -> None:
        """Look whether ``attend`` takes codes."""
        super().__init_subclass__()
        cls.reads_codes = "k_scale" in signature(cls.attend).parameters

    def __init__(
        self,
        embed_dim: int,
        q_shape: tuple[int, ...],
        k_shape: tuple[int, ...],
        v_shape: tuple[int, ...],
    ) -> None:
        super().__init__()
        self.embed_dim = embed_dim
        self.q_shape, self.k_shape, self.v_shape = q_shape, k_shape, v_shape
        self.q_proj = nn.Linear(embed_dim, prod(q_shape), bias=False)
        self.k_proj = nn.Linear(embed_dim, prod(k_shape), bias=False)
        self.v_proj = nn.Linear(embed_dim, prod(v_shape), bias=False)
        # The output of a query head is as wide as a value head.
        out_width = q_shape[0] * v_shape[-1]
        self.out_proj = nn.Linear(out_width, embed_dim, bias=False)

    def extra_repr(self) -> str:
        """Return the sizes that ``print(module)`` shows."""
        heads, kv_heads = self.q_shape[0], self.k_shape[0]
        width = self.q_shape[-1]
        return f"num_heads={heads}, num_kv_heads={kv_heads}, width={width}"

    def new_cache(
        self,
        batch_size: int,
        capacity: int,
        *,
        dtype: torch.dtype | None = None,
        budget: int | None = None,
        precision: str | None = None,
    ) -> KVCache:
        """Make an empty cache for ``capacity`` tokens of each sequence.

        Its dtype and device are those of the first keys and values. ``dtype``
        fixes the dtype instead. ``budget`` is the number of keys to keep of
        the tokens read before :meth:`KVCache.evict`, and ``precision`` "int8"
        or "fp8" stores them in 8 bits.
        """
        positive_int("batch_size", batch_size)
        positive_int("capacity", capacity)
        k_shape, v_shape = (
            (batch_size, *shape[:-1], capacity, shape[-1])
            for shape in (self.k_shape, self.v_shape)
        )
        # What the keys will probably be, so that memory is taken only once.
        first = next(self.parameters(), torch.empty(0))
        expected = autocast_dtype(first.device) or float_dtype(self)
        return KVCache(
            k_shape,
            v_shape,
            dtype=dtype or expected,
            device=first.device,
            adapt=dtype is None,
            budget=budget,
            precision=precision,
        )

    def attend(
        self,
        x: Tensor,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        key_lengths: Tensor | None,
        backend: str,
    ) -> Tensor:
        """Return the output of the heads, (B, H, T, width)."""
        raise NotImplementedError

    def maps(
        self, x: Tensor, q: Tensor, k: Tensor, key_lengths: Tensor | None
    ) -> AttentionMaps | Tensor:
        """Return the attention maps, each (B, H, T, S)."""
        raise NotImplementedError

    def forward(
        self,
        x: Tensor,
        *,
        rope: tuple[Tensor, Tensor] | None = None,
        cache: KVCache | None = None,
        key_lengths: Tensor | None = None,
        return_maps: bool = False,
        backend: str = "auto",
    ) -> Tensor | tuple[Tensor, AttentionMaps | Tensor]:
        """Return (B, T, E), and with return_maps also the attention maps.

        Parameters
        ----------
        x : (B, T, E)
        rope : (cos, sin), each (T, D / 2), optional
            Rotary angles of x's T positions. Without them the attention does
            not know the order of the tokens.
        cache : KVCache, optional
            From ``new_cache``. x continues the cached tokens and is added to
            the cache.
        key_lengths : (B,) integers, optional
            Keys from this position on are padding. Positions include those
            of the cached tokens. Refused after an eviction, because the keys
            of a head are then no longer numbered by position.
        return_maps : bool
            Also return the maps: AttentionMaps of three tensors (B, H, T, S),
            or one such tensor for softmax. S counts the keys held.
        backend : str
            As in :func:`minidiff.diff_attention`.
        """
        self._check(x, rope, cache, key_lengths)
        flag("return_maps", return_maps)
        q, k, v = (
            proj(x).unflatten(-1, shape).movedim(1, -2)
            for proj, shape in (
                (self.q_proj, self.q_shape),
                (self.k_proj, self.k_shape),
                (self.v_proj, self.v_shape),
            )
        )  # (B, heads, ..., T, width)
        if rope is not None:
            q, k = apply_rope(q, *rope), apply_rope(k, *rope)
        if cache is None:
            return self._output(x, q, k, v, key_lengths, return_maps, backend)
        length = cache.length
        cache.add(k, v)
        try:
            if cache.precision and self.reads_codes and not return_maps:
                (k, k_scale), (v, v_scale) = cache.codes()
                attend: Any = self.attend
                rest = (key_lengths, backend, k_scale, v_scale)
                return self._merged(attend(x, q, k, v, *rest))
            k, v = cache.numbers()
            return self._output(x, q, k, v, key_lengths, return_maps, backend)
        except BaseException:
            cache.length = length  # a repeated call must not append twice
            raise

    def _output(
        self,
        x: Tensor,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        key_lengths: Tensor | None,
        return_maps: bool,
        backend: str,
    ) -> Tensor | tuple[Tensor, AttentionMaps | Tensor]:
        out = self._merged(self.attend(x, q, k, v, key_lengths, backend))
        if not return_maps:
            return out
        return out, self.maps(x, q, k, key_lengths)

    def _merged(self, heads: Tensor) -> Tensor:
        """Project the heads' outputs (B, H, T, width) to (B, T, E)."""
        out: Tensor = self.out_proj(heads.transpose(1, 2).flatten(2))
        return out

    def _check(
        self,
        x: Tensor,
        rope: tuple[Tensor, Tensor] | None,
        cache: KVCache | None,
        key_lengths: Tensor | None,
    ) -> None:
        check_tensor("x", x, "(B, T, E)")
        if not x.is_floating_point():
            raise TypeError(f"x: got dtype {x.dtype}, expected a float dtype")
        check_input_dtype("x", x, self.q_proj)
        if rope is not None and (
            not isinstance(rope, tuple | list)
            or len(rope) != 2
            or not all(isinstance(table, Tensor) for table in rope)
        ):
            raise TypeError(
                f"rope: got {shown(rope)}, expected (cos, sin), two tensors"
            )
        if cache is not None and not isinstance(cache, KVCache):
            raise TypeError(
                f"cache: got {type(cache).__name__}, expected a KVCache, made "
                "by new_cache"
            )
        if key_lengths is not None and cache is not None and cache.evicted:
            raise ValueError(
                f"key_lengths: got lengths with a cache that has evicted "
                f"{cache.evicted} keys of each head, expected None: its keys "
                "are no longer numbered by position"
            )
        if x.ndim != 3 or x.shape[-1] != self.embed_dim or 0 in x.shape:
            raise ValueError(
                f"x: got shape {tuple(x.shape)}, expected "
                f"(B, T, {self.embed_dim}) with B, T >= 1"
            )
        if cache is not None:
            cache.check("x", x)


def head_sizes(
    embed_dim: int, num_heads: int, num_kv_heads: int | None, maps: int
) -> tuple[int, int]:
    """Return D and Hkv; ``maps`` is the number of maps of a head, 1 or 2.

    Raises TypeError or ValueError if a size is not a positive int, embed_dim
    is not a multiple of maps * num_heads, or num_kv_heads does not divide
    num_heads.
    """
    positive_int("embed_dim", embed_dim)
    positive_int("num_heads", num_heads)
    if embed_dim % (maps * num_heads):
        raise ValueError(
            f"embed_dim: got {embed_dim}, expected a multiple of "
            f"{maps * num_heads}, the number of attention maps"
        )
    if num_kv_heads is None:
        num_kv_heads = num_heads
    if num_heads % positive_int("num_kv_heads", num_kv_heads):
        raise ValueError(
            f"num_kv_heads: got {num_kv_heads}, expected a divisor of "
            f"num_heads = {num_heads}"
        )
    return embed_dim // (maps * num_heads), num_kv_heads
