"""Tensor descriptors for the GPU's copy engine (TMA), and their layout."""

from typing import Any

import torch
from torch import Tensor
from triton.tools.tensor_descriptor import TensorDescriptor

# Required alignment of rows and of the start of a tensor, in bytes.
BYTES = 16
MOST_CHECKED = 4096  # descriptors to remember
_checked: dict[tuple[object, ...], dict[str, Any]] = {}


def fits(x: Tensor) -> bool:
    """Tell whether the strides of x meet the requirements of TMA.

    The last axis must be contiguous, and the strides of all other axes longer
    than 1 must be positive multiples of 16 bytes.
    """
    step = BYTES // x.element_size()
    return x.stride(-1) == 1 and all(
        stride > 0 and stride % step == 0
        for n, stride in zip(x.shape[:-1], x.stride()[:-1], strict=True)
        if n > 1
    )


def readable(x: Tensor) -> Tensor:
    """Return x, or a copy of it if TMA cannot read x.

    Forward and backward pass each make a copy of their own.
    """
    if not fits(x):
        return x.clone(memory_format=torch.contiguous_format)
    return x if x.data_ptr() % BYTES == 0 else x.clone()


def gradient_like(x: Tensor) -> Tensor:
    """Make an empty tensor for the gradient of x.

    It has the strides of x if TMA supports these, and is contiguous otherwise.
    """
    if fits(x):
        return torch.empty_like(x)
    return torch.empty_like(x, memory_format=torch.contiguous_format)


def block_of(
    x: Tensor, tma: bool, *block: int
) -> TensorDescriptor | tuple[Any, ...]:
    """Make the kernel argument that describes how to load blocks of x.

    With ``tma`` it is a tensor descriptor, otherwise the tuple of pointer,
    sizes and strides that kernels/tiles.py documents. ``block`` is the block's
    size along the last axes of x; along all axes before, a block has size 1.
    """
    if not tma:
        matrix = x.shape[-2:] if len(block) == 2 else x.shape[-1:]
        strides = x.stride() if len(block) == 2 else x.stride()[:-1]
        return (x, *matrix, *strides)
    return described(TensorDescriptor, x, block)


def described(
    kind: type[Any], x: Tensor, block: tuple[int, ...], *layout: object
) -> Any:
    """Make a descriptor of x; ``layout`` is that of a block, if it needs one.

    Its checks take longer than a launch, so a tensor that has dtype, shape and
    strides of an earlier one gets a copy of that one's descriptor, with its
    own address.
    """
    key = (kind, x.dtype, x.shape, x.stride(), block, *layout)
    rest = _checked.get(key)
    if rest is None:
        ones = [1] * (x.ndim - len(block))
        made = kind(x, list(x.shape), steps(x), [*ones, *block], *layout)
        if len(_checked) >= MOST_CHECKED:
            _checked.clear()
        # Without the tensor, which must not be kept.
        _checked[key] = {n: y for n, y in vars(made).items() if n != "base"}
        return made
    made = object.__new__(kind)
    vars(made).update(rest, base=x)
    return made


def steps(x: Tensor) -> list[int]:
    """Return the strides of x in the form that a descriptor accepts.

    The stride of an axis of length 1 is never used, but the descriptor checks
    its alignment, so it is replaced by 16 bytes.
    """
    step = BYTES // x.element_size()
    outer = zip(x.shape[:-1], x.stride()[:-1], strict=True)
    return [*(step if n == 1 else stride for n, stride in outer), 1]


def rows(*sizes: int, device: torch.device) -> Tensor:
    """Make an empty float32 tensor (*sizes) with one number for each row.

    Its last axis is padded in memory so that TMA can read it.
    """
    *outer, T = sizes
    padded = -(-T // 4) * 4
    x = torch.empty(*outer, padded, device=device, dtype=torch.float32)
    return x[..., :T]


def readable_rows(x: Tensor) -> Tensor:
    """Return x (..., T), or a copy made by `rows` if TMA cannot read x."""
    return x if fits(x) else rows(*x.shape, device=x.device).copy_(x)
