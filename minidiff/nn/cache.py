"""The key-value cache of one attention layer."""

import torch
from torch import Tensor


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
    """

    def __init__(
        self,
        k_shape: tuple[int, ...],
        v_shape: tuple[int, ...],
        *,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
        adapt: bool = False,
    ) -> None:
        if k_shape[0] != v_shape[0] or k_shape[-2] != v_shape[-2]:
            raise ValueError(
                f"v_shape: got {tuple(v_shape)}, expected batch "
                f"{k_shape[0]} and capacity {k_shape[-2]} as in k_shape "
                f"{tuple(k_shape)}"
            )
        self._k = torch.empty(k_shape, dtype=dtype, device=device)
        self._v = torch.empty(v_shape, dtype=dtype, device=device)
        self._adapt = adapt
        self.length = 0

    @property
    def capacity(self) -> int:
        """Number of tokens the cache can hold."""
        return self._k.shape[-2]

    @property
    def numbers_per_token(self) -> int:
        """Number of entries stored for one token of one sequence."""
        total = self._k.numel() + self._v.numel()
        return total // (self._k.shape[0] * self.capacity)

    def append(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Append T tokens; return views of all keys and values so far.

        k is (B, Hkv, P, T, D), or (B, Hkv, T, D) for softmax; v is (B, Hkv,
        T, Dv). The views have ``length`` tokens instead of T.

        Raises ValueError when the cache is full, when a shape, dtype or
        device differs from the cache's, or when gradients are being recorded.
        """
        if self._adapt and self.length == 0:
            self._k = _as_wanted(self._k, k)
            self._v = _as_wanted(self._v, v)
        end = self.length + k.shape[-2]
        _check_fits("k", k, self._k)
        _check_fits("v", v, self._v)
        if k.shape[-2] != v.shape[-2]:
            raise ValueError(
                f"v: got {v.shape[-2]} tokens, expected {k.shape[-2]} as in k"
            )
        if end > self.capacity:
            raise ValueError(
                f"cache: got {k.shape[-2]} more tokens, but {self.length} of "
                f"{self.capacity} places are taken; make a longer cache"
            )
        self._k[..., self.length : end, :] = k
        self._v[..., self.length : end, :] = v
        self.length = end
        return self._k[..., :end, :], self._v[..., :end, :]


def _as_wanted(empty: Tensor, x: Tensor) -> Tensor:
    if empty.dtype == x.dtype and empty.device == x.device:
        return empty
    return torch.empty_like(empty, dtype=x.dtype, device=x.device)


def _check_fits(name: str, x: Tensor, held: Tensor) -> None:
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
