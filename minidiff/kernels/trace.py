"""A recorder over Triton's interpreter: which program touches what."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from minidiff.kernels import INTERPRETED

# Instead of an element's number, for entries of a block that touch none.
MASKED, OUTSIDE = -1, -2

Program = tuple[int, int, int]


@dataclass(frozen=True, kw_only=True)
class Touch:
    """One tl.load or tl.store, or one atomic, of one program.

    ``element`` has the block's shape. It holds the number of the element
    touched, as it stands in ``tensor.flatten()``; ``MASKED`` where the mask
    held the program back, ``OUTSIDE`` where what it touched belongs to no
    element of the tensor.
    """

    kernel: str
    program: Program
    kind: str  # "load", "store" or "atomic"
    name: str  # of the kernel's argument
    shape: tuple[int, ...]  # of the tensor
    element: np.ndarray


class _Argument:
    """A tensor that a kernel was given, found again by addresses."""

    def __init__(self, name: str, x: Tensor) -> None:
        self.name, self.shape = name, tuple(x.shape)
        storage = x.untyped_storage()
        self.size = x.element_size()
        self.start = storage.data_ptr()
        self.end = self.start + storage.nbytes()
        count = storage.nbytes() // self.size
        numbers = torch.full((count,), OUTSIDE)
        view = numbers.as_strided(x.shape, x.stride(), x.storage_offset())
        # Where a stride is 0 elements share a place: the last one counts.
        view.copy_(torch.arange(x.numel()).view(x.shape))
        self.numbers = numbers.numpy()

    def distance(self, address: int) -> int:
        return max(self.start - address, address - self.end + 1, 0)

    def elements(self, addresses: np.ndarray) -> np.ndarray:
        found = np.full(addresses.shape, OUTSIDE)
        near = (addresses >= self.start) & (addresses < self.end)
        at = (addresses[near] - self.start) // self.size
        found[near] = self.numbers[at]
        return found


def _tensors(name: str, x: Any) -> Iterator[tuple[str, Tensor]]:
    """Tensors in an argument: itself, in a tuple, behind a descriptor."""
    if isinstance(x, Tensor):
        yield name, x
    elif isinstance(x, tuple):
        for part in x:
            yield from _tensors(name, part)
    elif isinstance(getattr(x, "base", None), Tensor):
        yield name, x.base


@contextmanager
def watch(tell: Callable[[Touch], None]) -> Iterator[None]:
    """Call ``tell`` before each touch of each kernel launched inside.

    What ``tell`` raises ends the launch. Raises RuntimeError on a GPU: there
    the programs run on the device, and nobody sees them.
    """
    if not INTERPRETED:
        raise RuntimeError(
            "record works in Triton's interpreter only: set "
            "TRITON_INTERPRET=1 in the environment and start Python again"
        )
    from triton.runtime import interpreter

    builder = interpreter.interpreter_builder
    kernels = interpreter.InterpretedFunction
    run = kernels.run
    launched: list[Any] = ["", []]

    def running(self: Any, *args: Any, grid: Any, warmup: bool, **kw: Any):
        given = dict(zip(self.arg_names, args, strict=False)) | kw
        outer = launched[:]
        launched[:] = [
            self.__name__,
            [
                _Argument(*found)
                for name, x in given.items()
                for found in _tensors(name, x)
            ],
        ]
        try:
            return run(self, *args, grid=grid, warmup=warmup, **kw)
        finally:
            launched[:] = outer

    def touch(kind: str, pointers: Any, mask: Any) -> None:
        kernel, arguments = launched
        addresses = np.asarray(pointers.data).astype(np.int64)
        seen = np.broadcast_to(mask.data.astype(bool), addresses.shape)
        first = addresses[seen][0] if seen.any() else addresses.flat[0]
        mine = min(arguments, key=lambda a: a.distance(int(first)))
        elements = np.where(seen, mine.elements(addresses), MASKED)
        tell(
            Touch(
                kernel=kernel,
                program=builder.grid_idx,
                kind=kind,
                name=mine.name,
                shape=mine.shape,
                element=elements,
            )
        )

    def watched(kind: str, real: Callable, where: int, mask: int) -> Callable:
        def call(*args: Any, **kw: Any) -> Any:
            touch(kind, args[where], args[mask] if mask else _ONE)
            return real(*args, **kw)

        return call

    # Which argument is the pointer, and which the mask.
    places = {
        "create_masked_load": ("load", 0, 1),
        "create_masked_store": ("store", 0, 2),
        "create_atomic_rmw": ("atomic", 1, 3),
        "create_atomic_cas": ("atomic", 0, 0),
    }
    for method, (kind, where, mask) in places.items():
        real = getattr(builder, method)
        setattr(builder, method, watched(kind, real, where, mask))
    kernels.run = running
    try:
        yield
    finally:
        kernels.run = run
        for method in places:
            delattr(builder, method)


class _One:
    """The mask of what has none."""

    data = np.ones(1, dtype=bool)


_ONE = _One()
