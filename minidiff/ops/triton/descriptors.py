"""Tensors as the copy engine of a GPU (TMA) reads them: block by block."""

from typing import Any

import torch
from torch import Tensor
from triton.tools.tensor_descriptor import TensorDescriptor

# Required alignment of rows and of the start of a tensor, in bytes.
BYTES = 16


def fits(x: Tensor) -> bool:
    """Whether the engine can walk x: rows in one piece, steps of 16 bytes."""
    step = BYTES // x.element_size()
    return x.stride(-1) == 1 and all(
        stride > 0 and stride % step == 0
        for n, stride in zip(x.shape[:-1], x.stride()[:-1], strict=True)
        if n > 1
    )


def readable(x: Tensor) -> Tensor:
    """Return x, or a copy that the engine can read.

    A copy is made in the forward pass, and again in the backward.
    """
    if not fits(x):
        return x.clone(memory_format=torch.contiguous_format)
    return x if x.data_ptr() % BYTES == 0 else x.clone()


def gradient_like(x: Tensor) -> Tensor:
    """Make an empty tensor for the gradient of x, laid out as x is."""
    if fits(x):
        return torch.empty_like(x)
    return torch.empty_like(x, memory_format=torch.contiguous_format)


def block_of(
    x: Tensor, tma: bool, *block: int
) -> TensorDescriptor | tuple[Any, ...]:
    """Make the argument of a kernel from which blocks of x are moved.

    A descriptor for TMA; else what tiles.py lists. Blocks lie on the last
    axes; along those before, one entry is moved at a time.
    """
    if not tma:
        matrix = x.shape[-2:] if len(block) == 2 else x.shape[-1:]
        strides = x.stride() if len(block) == 2 else x.stride()[:-1]
        return (x, *matrix, *strides)
    ones = [1] * (x.ndim - len(block))
    return TensorDescriptor(x, list(x.shape), steps(x), [*ones, *block])


def steps(x: Tensor) -> list[int]:
    """Strides of x as a descriptor takes them.

    The stride of an axis of length 1 is never used, but it is checked.
    """
    step = BYTES // x.element_size()
    outer = zip(x.shape[:-1], x.stride()[:-1], strict=True)
    return [*(step if n == 1 else stride for n, stride in outer), 1]


def rows(*sizes: int, device: torch.device) -> Tensor:
    """Make an empty float32 tensor of one number a row, readable by TMA."""
    *outer, T = sizes
    padded = -(-T // 4) * 4
    x = torch.empty(*outer, padded, device=device, dtype=torch.float32)
    return x[..., :T]


def readable_rows(x: Tensor) -> Tensor:
    """Return x (..., T), or a copy of it as `rows` makes them."""
    return x if fits(x) else rows(*x.shape, device=x.device).copy_(x)
