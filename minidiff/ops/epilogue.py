"""Epilogue of the torch backends: the subtraction, the norm, the layout."""

import torch
from torch import Tensor

from minidiff.ops.wide import wide


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
    """Normalise each head and token of out (B, H, T, Dv), if asked to.

    Ye et al. 2025, eq. 3: ``norm_scale * RMSNorm(out) * norm_weight``.
    Returns ``dtype``, with memory ordered (B, T, H, Dv).
    """
    if norm_scale is not None:
        mean_square = out.square().mean(-1, keepdim=True)
        out = out * (mean_square + eps).rsqrt() * norm_scale
        if norm_weight is not None:
            out = out * norm_weight
    return out.to(dtype).transpose(1, 2).contiguous().transpose(1, 2)
