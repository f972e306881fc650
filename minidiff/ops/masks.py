"""Attention masks, and zeros in place of padded keys and values."""

import torch
from torch import Tensor


def visible(
    T: int,
    S: int,
    causal: bool,
    key_lengths: Tensor | None,
    device: torch.device,
) -> Tensor | None:
    """Return a mask, True where a query sees a key, or None if it sees all.

    The mask is (T, S), or (B, 1, T, S) with key lengths. The causal mask is
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
    """Return x (B, ..., S, D) with zeros at the padded positions.

    Masking alone is not enough: a NaN in the padding stays NaN when it is
    multiplied by a weight of zero, so the padding is overwritten.
    """
    if key_lengths is None:
        return x
    S = x.shape[-2]
    padding = torch.arange(S, device=x.device) >= key_lengths[:, None]
    shape = (x.shape[0],) + (1,) * (x.ndim - 3) + (S, 1)
    return x.masked_fill(padding.view(shape), 0)
