"""Tensors of which each process holds a share, and whole ones."""

import torch
from torch import Tensor


def whole(x: Tensor) -> Tensor:
    """Return x with all its entries; every process must call it.

    A tensor that is not shared out is returned as it is.
    """
    return x.full_tensor() if hasattr(x, "full_tensor") else x


def like(x: Tensor, parameter: Tensor) -> Tensor:
    """Return a copy of x, whole, as the parameter is: device, dtype, share.

    Every process must call it with the same x.
    """
    x = x.to(parameter.device, parameter.dtype, copy=True)
    if not hasattr(parameter, "full_tensor"):
        return x
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(
        x, parameter.device_mesh, parameter.placements, src_data_rank=None
    )


def on_first(x: Tensor, first: bool) -> Tensor:
    """Return x whole on the CPU of the first process, empty on the others."""
    x = whole(x.detach())
    return x.cpu() if first else torch.empty(0)
