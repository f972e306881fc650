"""Masks: which keys a query sees, and padding that must not be read."""

import torch
from torch import Tensor


def visible(
    T: int,
    S: int,
    causal: bool,
    key_lengths: Tensor | None,
    device: torch.device,
) -> Tensor | None:
    """Build the mask: True where a query sees a key; None if all are seen.

    Returns (T, S), or (B, 1, T, S) with key lengths. The causal edge is
    aligned to the end: the last query sees all S keys.
    """
    if not causal and key_lengths is None:
        return None
    mask = torch.ones(T, S, dtype=torch.bool, device=device)
    if causal:
        mask = mask.tril(S - T)
    if key_lengths is not None:
        inside = torch.arange(S, device=device) < key_lengths[:, None]
        mask = mask & inside[:, None, None, :]  # (B, 1, T, S)
    return mask


def blank_padding(x: Tensor, key_lengths: Tensor | None) -> Tensor:
    """Put zeros where x (B, ..., S, D) is padding.

    A weight of zero does not hide a NaN (0 * NaN is NaN), so what padding
    holds must be overwritten, not only masked.
    """
    if key_lengths is None:
        return x
    S = x.shape[-2]
    padding = torch.arange(S, device=x.device) >= key_lengths[:, None]
    shape = (x.shape[0],) + (1,) * (x.ndim - 3) + (S, 1)
    return x.masked_fill(padding.view(shape), 0)
