"""The key-value cache of one attention layer."""

from math import prod

import torch
from torch import Tensor

from minidiff.files.checks import positive_int
from minidiff.nn.kept_keys import check_scores, highest, only
from minidiff.nn.low_bit import LowBit


class KVCache:
    """Keys and values of the tokens so far, in preallocated tensors.

    Create it with the attention module's ``new_cache``, which knows the
    shapes. A cache is for inference only and cannot be cleared: for another
    sequence, make a new one.

    Parameters
    ----------
    k_shape : (B, Hkv, P, capacity, D), or (B, Hkv, capacity, D) for softmax
        Tokens are on axis -2.
    v_shape : (B, Hkv, capacity, Dv)
    dtype, device
        Those of the keys and values that will be appended.
    adapt : bool
        Take over dtype and device of the first keys and values if they
        differ.
    budget : int, optional
        Number of keys that each key head keeps in :meth:`evict`. It bounds
        what is kept of the tokens read before; those appended later are added
        to it.
    precision : "int8" or "fp8", optional
        Store keys and values in 8 bits, with a scale for each token, head and
        branch (:mod:`minidiff.ops.low_bit`), in about half the memory of 16
        bits. ``dtype`` stays that of the keys and values appended and
        returned. Differential attention gets the codes (:meth:`codes`), which
        the fused kernels read as they are for up to 16 queries, for instance
        in each step of decoding. Everything else restores all keys and values
        held, for a while, for one layer: this saves memory and no time.

    Attributes
    ----------
    length : int
        Number of tokens so far, also of those whose keys were evicted. It is
        the position of the next token. Setting it to a smaller number forgets
        the last tokens, but not beyond the last eviction. Any other number is
        refused when the cache is used.
    evicted : int
        Number of keys that each key head has evicted.
    """

    def __init__(
        self,
        k_shape: tuple[int, ...],
        v_shape: tuple[int, ...],
        *,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
        adapt: bool = False,
        budget: int | None = None,
        precision: str | None = None,
    ) -> None:
        if k_shape[0] != v_shape[0] or k_shape[-2] != v_shape[-2]:
            raise ValueError(
                f"v_shape: got {tuple(v_shape)}, expected batch "
                f"{k_shape[0]} and capacity {k_shape[-2]} as in k_shape "
                f"{tuple(k_shape)}"
            )
        if budget is not None:
            positive_int("budget", budget)
        self._k = _memory(k_shape, precision, dtype, device)
        self._v = _memory(v_shape, precision, dtype, device)
        self._adapt = adapt
        self.budget = budget
        self.precision = precision
        self.length = 0
        self.evicted = 0
        self._read = 0  # tokens before the last eviction
        self._appended = 0  # tokens up to the end of the last append

    @property
    def held(self) -> int:
        """Number of keys that each key head holds."""
        return self.length - self.evicted

    @property
    def capacity(self) -> int:
        """Number of tokens the cache has room for, evicted ones included."""
        return self._k.shape[-2] + self.evicted

    @property
    def nbytes(self) -> int:
        """Memory of the keys and values in bytes, unused places included.

        Scales count, if ``precision`` is low.
        """
        return self._k.nbytes + self._v.nbytes

    @property
    def numbers_per_token(self) -> int:
        """Number of entries stored for one token of one sequence."""
        total = prod(self._k.shape) + prod(self._v.shape)
        return total // (self._k.shape[0] * self._k.shape[-2])

    def check(self, name: str, x: Tensor) -> None:
        """Raise ValueError unless x (B, T, ...) can continue the tokens.

        ``name`` is that of x in the message.
        """
        self._check_length()
        if x.shape[0] != self._k.shape[0]:
            raise ValueError(
                f"{name}: got a batch of {x.shape[0]}, expected "
                f"{self._k.shape[0]} as the cache was made for"
            )

    def _check_length(self) -> None:
        if 0 <= self.length < self._read:
            raise ValueError(
                f"length: got {self.length}, expected at least {self._read}, "
                "as keys of the tokens before were evicted; make a new cache"
            )
        if not 0 <= self.length <= self._appended:
            raise ValueError(
                f"length: got {self.length}, expected 0 to {self._appended}, "
                "the tokens appended"
            )

    def append(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Append T tokens; return views of all keys and values held.

        k is (B, Hkv, P, T, D), or (B, Hkv, T, D) for softmax; v is (B, Hkv,
        T, Dv). The views have ``held`` tokens instead of T, the new ones
        last. So a causal mask aligned to the end is right after an eviction.
        A cache of low precision returns restored copies instead of views.

        Raises as :meth:`add` does.
        """
        self.add(k, v)
        return self.numbers()

    def numbers(self) -> tuple[Tensor, Tensor]:
        """Return views of all keys and values held, or restored copies."""
        return self._k[..., : self.held, :], self._v[..., : self.held, :]

    def codes(self) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """Return codes and scales of the keys, and those of the values.

        They are views of all that is held. Raises ValueError for a cache
        without low ``precision``.
        """
        index = (..., slice(self.held), slice(None))
        if isinstance(self._k, LowBit) and isinstance(self._v, LowBit):
            return self._k.codes(index), self._v.codes(index)
        raise ValueError(
            "precision: got None, expected a cache in 8 bits: "
            "new_cache(..., precision='int8')"
        )

    def add(self, k: Tensor, v: Tensor) -> None:
        """Append T tokens, as :meth:`append` does, and return nothing.

        Raises ValueError when the cache is full, when a shape, dtype or
        device differs from the cache's, when gradients are being recorded, or
        when ``length`` was set to less than the last eviction had read.
        """
        self._check_length()
        if self._adapt and self.length == 0:
            self._k = _as_wanted(self._k, k, self.precision)
            self._v = _as_wanted(self._v, v, self.precision)
        start, end = self.held, self.held + k.shape[-2]
        _check_fits("k", k, self._k)
        _check_fits("v", v, self._v)
        if k.shape[-2] != v.shape[-2]:
            raise ValueError(
                f"v: got {v.shape[-2]} tokens, expected {k.shape[-2]} as in k"
            )
        if end > self._k.shape[-2]:
            raise ValueError(
                f"cache: got {k.shape[-2]} more tokens, but {self.length} of "
                f"{self.capacity} places are taken; make a longer cache"
            )
        self._k[..., start:end, :] = k
        self._v[..., start:end, :] = v
        self.length += k.shape[-2]
        self._appended = self.length

    def evict(self, scores: Tensor) -> Tensor:
        """Keep the ``budget`` keys of highest score and free the others.

        Each key head keeps its own set of keys, which both branches and the
        values share. Kept keys stay in the order of their positions, and were
        rotated for these positions before they were cached. Of equal scores
        the later key is kept. Nothing is evicted if no more than ``budget``
        keys are held. During the call, old and new memory exist together.

        Parameters
        ----------
        scores : (B, H, S)
            From :mod:`minidiff.nn.key_scores`, for the S = ``held`` keys. H
            is a multiple of Hkv: heads that share keys are averaged.

        Returns
        -------
        (B, Hkv, min(budget, S)) int64: which of the S keys were kept, in
        ascending order. Before the first eviction these are positions.

        Raises
        ------
        ValueError, TypeError
            If the cache has no budget, or for scores of another shape or
            device, or that are NaN.
        """
        if self.budget is None:
            raise ValueError(
                "budget: the cache was made without one, expected a number "
                "of keys to keep: new_cache(..., budget=n)"
            )
        B, Hkv, S = self._v.shape[0], self._v.shape[1], self.held
        check_scores(scores, B, Hkv, S, self._v.device)
        scores = scores.detach()
        kept = highest(scores.unflatten(1, (Hkv, -1)).mean(2), self.budget)
        if self.budget < S:
            self._k = _only(self._k, kept, S)
            self._v = _only(self._v, kept, S)
            self.evicted += S - self.budget
            self._read = self.length
        return kept


def _memory(
    shape: tuple[int, ...],
    precision: str | None,
    dtype: torch.dtype | None,
    device: torch.device | str | None,
) -> Tensor | LowBit:
    # Ordinary memory also in inference mode, so that the cache can be used
    # outside too.
    with torch.inference_mode(False):
        if precision is None:
            return torch.empty(shape, dtype=dtype, device=device)
        dtype = dtype or torch.get_default_dtype()
        return LowBit(shape, precision, dtype=dtype, device=device)


def _as_wanted(
    empty: Tensor | LowBit, x: Tensor, precision: str | None
) -> Tensor | LowBit:
    if empty.dtype == x.dtype and empty.device == x.device:
        return empty
    return _memory(tuple(empty.shape), precision, x.dtype, x.device)


@torch.inference_mode(False)
def _only(memory: Tensor | LowBit, kept: Tensor, S: int) -> Tensor | LowBit:
    if isinstance(memory, LowBit):
        return memory.only(kept, S)
    return only(memory, kept, S)


def _check_fits(name: str, x: Tensor, held: Tensor | LowBit) -> None:
    got, want = list(x.shape), list(held.shape)
    want[-2] = got[-2]
    if got != want:
        raise ValueError(
            f"{name}: got shape {tuple(x.shape)}, expected that of the cache "
            f"{tuple(held.shape)} but for the tokens on axis -2"
        )
    if x.dtype != held.dtype or x.device != held.device:
        raise ValueError(
            f"{name}: got {x.dtype} on {x.device}, but the cache holds "
            f"{held.dtype} on {held.device}; make it with that dtype"
        )
    # Writing in place would change tensors that autograd has saved.
    if x.requires_grad and torch.is_grad_enabled():
        raise ValueError(
            f"{name}: got a tensor that records gradients, but a cache is "
            "for inference; use it inside torch.no_grad()"
        )
