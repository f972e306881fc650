"""Peak memory and traffic of PyTorch operations, counted without a GPU."""

import weakref
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Meter(TorchDispatchMode):
    """Count the bytes of the tensors that operations make inside the block.

    After ``with Meter() as meter: f(x)``, ``meter.peak`` is the largest
    number of bytes alive at one time and ``meter.largest`` the largest single
    tensor; tensors made before the block do not count. ``meter.moved`` is the
    number of bytes read and written, each input and output of an operation
    counted once, including those changed in place. The device "meta" works
    too. Memory that a kernel uses internally is not counted.
    """

    def __init__(self) -> None:
        super().__init__()
        self.alive = self.peak = self.largest = self.moved = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        inputs = [x for x in tree_leaves((args, kwargs)) if _is_tensor(x)]
        results = [x for x in tree_leaves(out) if _is_tensor(x)]
        old = {x.untyped_storage()._cdata for x in inputs}
        made = {
            x.untyped_storage()._cdata: x.untyped_storage()
            for x in results
            if x.untyped_storage()._cdata not in old
        }
        written = [
            x
            for x in results
            if _in_place(func) and x.untyped_storage()._cdata in old
        ]
        if made or written:  # a view allocates and moves no memory
            self.moved += sum(x.nbytes for x in (*inputs, *written))
        for storage in made.values():
            size = storage.nbytes()
            self.moved += size
            self.alive += size
            self.largest = max(self.largest, size)
            weakref.finalize(storage, self._free, size)
        self.peak = max(self.peak, self.alive)
        return out

    def _free(self, size: int) -> None:
        self.alive -= size


def _in_place(func: Any) -> bool:
    """Tell whether an operation changes its inputs' data, not just shapes."""
    return func._schema.is_mutable and torch.Tag.inplace_view not in func.tags


def _is_tensor(x: object) -> bool:
    return isinstance(x, Tensor)
