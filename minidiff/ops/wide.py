"""Conversion to at least float32, for accurate sums."""

import torch
from torch import Tensor


def wide_dtype(x: Tensor) -> torch.dtype:
    """Return float32, or the dtype of x if that is wider."""
    return torch.promote_types(x.dtype, torch.float32)


def wide(x: Tensor) -> Tensor:
    """Return x in float32, or unchanged if its dtype is wider."""
    return x.to(wide_dtype(x))
