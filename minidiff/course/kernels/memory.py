"""Fenced and poisoned tensors, which show what a kernel should not touch."""

import math

import torch
from torch import Tensor

from minidiff.course.kernels import DEVICE, INTERPRETED

# What lies around an output. Float16 and bfloat16 hold it exactly.
SENTINEL = -768.0
# After each axis so many elements follow that are not the tensor's.
GAP = 3
# So many lie before the first element and after the last.
MARGIN = 4096


def _inside(shape: tuple[int, ...], around: Tensor) -> Tensor:
    """Cut a view of `shape` out of the middle of a flat tensor."""
    wide = [n + GAP for n in shape]
    margin = (around.numel() - math.prod(wide)) // 2
    middle = around[margin : margin + math.prod(wide)].view(wide)
    return middle[tuple(slice(n) for n in shape)]


def fenced(x: Tensor, margin: int = MARGIN) -> Tensor:
    """Return the same numbers as a view into a larger tensor of NaN.

    Where a kernel reads beyond an end of x, it gets NaN. Each axis but the
    last has an unusual stride: ``GAP`` elements of NaN follow every row, and
    ``margin`` of them lie before the first element and after the last.
    Raises TypeError for a tensor of integers: they have no NaN.
    """
    if not x.is_floating_point():
        raise TypeError(
            f"x: got {x.dtype}, expected a floating type: the fence is NaN"
        )
    n = math.prod(n + GAP for n in x.shape) + 2 * margin
    around = torch.full((n,), torch.nan, dtype=x.dtype, device=x.device)
    view = _inside(tuple(x.shape), around)
    view.copy_(x.detach())
    return view


def poisoned(
    *shape: int,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = DEVICE,
    margin: int = MARGIN,
) -> Tensor:
    """Return a new tensor of NaN, for a kernel to write its output into.

    Whatever the kernel leaves out stays NaN, with bits that no computed NaN
    has. It is a view as ``fenced`` makes one; around it lies one fixed
    number, and ``outside_touched`` says whether that is still so.
    """
    n = math.prod(n + GAP for n in shape) + 2 * margin
    around = torch.full((n,), SENTINEL, dtype=dtype, device=device)
    x = _inside(shape, around)
    bits(x).fill_(bits(torch.tensor(torch.nan, dtype=dtype)).item() + 1)
    return x


def bits(x: Tensor) -> Tensor:
    """Return the numbers of x as they lie in memory, a view of integers.

    So two NaN of different origin differ, and one and the same is equal.
    """
    widths = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
    return x.view(widths[x.element_size()])


def outside_touched(x: Tensor) -> int:
    """Count the elements around a ``poisoned`` x that were written to."""
    around = torch.empty(0, dtype=x.dtype, device=x.device)
    around.set_(x.untyped_storage())
    outside = torch.ones_like(around, dtype=torch.bool)
    outside.as_strided(x.shape, x.stride(), x.storage_offset()).fill_(False)
    return int((around[outside] != SENTINEL).sum())


def refuse_bf16(x: Tensor, name: str) -> None:
    """Raise TypeError for a bfloat16 tensor in the interpreter.

    NumPy has no bfloat16, so the interpreter keeps its 16 bits as a whole
    number and computes with that. On a GPU nothing is refused.
    """
    if INTERPRETED and x.dtype == torch.bfloat16:
        raise TypeError(
            f"{name}: got bfloat16 in Triton's interpreter, which silently "
            "computes it incorrectly; expected float32 or float16 there"
        )
