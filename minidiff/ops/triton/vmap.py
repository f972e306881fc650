"""Rules for ``torch.vmap``: merge the mapped axis into the batch axis.

The kernels have a batch axis already, so M mapped calls with batch size B
become one call with batch size M B. Only the norm's weight has no batch axis:
if it is mapped too, the norm is computed after the kernel.
"""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from minidiff.ops.arguments import Arguments
from minidiff.ops.epilogue import finish
from minidiff.ops.wide import wide

ROWS = ("q", "k", "v", "lam", "key_lengths")


def one_call(
    attend: Callable[[Arguments], Tensor],
    M: int,
    x: Arguments,
    dims: Arguments,
) -> Tensor:
    """Return the results (M, B, H, T, Dv) of M mapped calls of ``attend``.

    dims has the mapped axis of each argument, None if it is not mapped.
    """
    rows: dict[str, Any] = {
        name: _fold(getattr(x, name), getattr(dims, name), M) for name in ROWS
    }
    one = x._replace(**rows)
    if x.norm_weight is None or dims.norm_weight is None:
        return attend(one).unflatten(0, (M, -1))
    y = attend(one._replace(norm_weight=None, norm_scale=None))
    weight = x.norm_weight.movedim(int(dims.norm_weight), 0)
    each = weight.repeat_interleave(len(y) // M, 0)[:, None, None]
    y = finish(wide(y), y.dtype, each, x.norm_scale, x.eps)
    return y.unflatten(0, (M, -1))


def _fold(x: Tensor | None, dim: int | None, M: int) -> Tensor | None:
    """Merge x's mapped axis, or M copies of x, into axis 0: (M B, ...)."""
    if x is None:
        return None
    mapped = x.expand(M, *x.shape) if dim is None else x.movedim(dim, 0)
    return mapped.flatten(0, 1)
