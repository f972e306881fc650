"""Tensors as the copy engine of a GPU (TMA) reads them: block by block."""

from collections.abc import Sequence

import torch
from torch import Tensor
from triton.tools.tensor_descriptor import TensorDescriptor

# Rows, and where a tensor starts, lie on multiples of so many bytes.
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
    """Return x, or a copy that the engine can read."""
    if not fits(x):
        return x.clone(memory_format=torch.contiguous_format)
    return x if x.data_ptr() % BYTES == 0 else x.clone()


def gradient_like(x: Tensor) -> Tensor:
    """Make an empty tensor for the gradient of x, laid out as x is."""
    if fits(x):
        return torch.empty_like(x)
    return torch.empty_like(x, memory_format=torch.contiguous_format)


def descriptor(x: Tensor, *block: int) -> TensorDescriptor:
    """Describe x, from which blocks of these sizes are moved.

    The axes before them are moved one entry at a time.
    """
    step = BYTES // x.element_size()
    # The stride of an axis of length 1 is never used, but it is checked.
    strides = [
        step if n == 1 else stride
        for n, stride in zip(x.shape[:-1], x.stride()[:-1], strict=True)
    ]
    ones: Sequence[int] = [1] * (x.ndim - len(block))
    return TensorDescriptor(x, list(x.shape), [*strides, 1], [*ones, *block])


def rows(*sizes: int, device: torch.device) -> Tensor:
    """Make an empty float32 tensor of one number a row, readable by TMA."""
    *outer, T = sizes
    padded = -(-T // 4) * 4
    return torch.empty(*outer, padded, device=device)[..., :T]
