"""Sums in float32 where the numbers themselves are narrower."""

import torch
from torch import Tensor


def wide_dtype(x: Tensor) -> torch.dtype:
    """Return float32, or the dtype of x where that is wider."""
    return torch.promote_types(x.dtype, torch.float32)


def wide(x: Tensor) -> Tensor:
    """Return x in float32, or as it is where that is wider."""
    return x.to(wide_dtype(x))
