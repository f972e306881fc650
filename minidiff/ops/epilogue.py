"""Epilogue of the PyTorch backends: subtraction, norm and memory layout."""

import torch
from torch import Tensor

from minidiff.ops.wide import wide

NO_EPS = 1e-30  # a smaller eps does not protect a row of zeros


def subtract(x1: Tensor, x2: Tensor, lam: float | Tensor) -> Tensor:
    """Return ``x1 - lam x2`` in float32 or wider; x1, x2 (B, H, T, n)."""
    x1, x2 = wide(x1), wide(x2)
    if isinstance(lam, Tensor):
        lam = lam.to(x1.device, x1.dtype)
        lam = lam[..., None] if lam.ndim else lam
    return x1 - lam * x2


def finish(
    out: Tensor,
    dtype: torch.dtype,
    norm_weight: Tensor | None,
    norm_scale: float | None,
    eps: float,
) -> Tensor:
    """Apply the headwise norm to out (B, H, T, Dv) unless norm_scale is None.

    Ye et al. 2025, eq. 3: ``norm_scale * RMSNorm(out) * norm_weight``.
    Return (B, H, T, Dv) in ``dtype``, laid out in memory as (B, T, H, Dv).
    A row of zeros stays zeros, also with eps = 0.
    """
    if norm_scale is not None:
        mean_square = out.square().mean(-1, keepdim=True) + eps
        if eps < NO_EPS:
            empty = mean_square == 0
            mean_square = mean_square.masked_fill(empty, float("inf"))
        out = out * mean_square.rsqrt() * norm_scale
        if norm_weight is not None:
            out = out * norm_weight
    return out.to(dtype).transpose(1, 2).contiguous().transpose(1, 2)
