"""A recorder over Triton's interpreter: which program touches what.

``with record() as log: kernel[grid](...)`` keeps every touch of every
program; picture.py draws them.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from minidiff.course.kernels import INTERPRETED

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
def watch(
    tell: Callable[[Touch], None], *, undefined: bool = False
) -> Iterator[None]:
    """Call ``tell`` before each touch of each kernel launched inside.

    What ``tell`` raises ends the launch. With ``undefined``, a tl.load whose
    mask holds entries back and which names no ``other`` gives NaN there: on
    a GPU such entries hold anything, in the interpreter 0. Raises
    RuntimeError on a GPU: there programs run on the device, and nobody sees
    them.
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
        first = int(addresses[seen][0] if seen.any() else addresses.flat[0])
        near = min(a.distance(first) for a in arguments)
        # Tensors may share a storage: it is the one that fits best.
        mine, elements = max(
            (
                (a, np.where(seen, a.elements(addresses), MASKED))
                for a in arguments
                if a.distance(first) == near
            ),
            key=lambda found: (found[1] >= 0).sum(),
        )
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

    def nothing(pointers: Any) -> Any:
        dtype = pointers.get_element_ty()
        if not dtype.is_floating() or dtype.primitive_bitwidth < 16:
            return None
        kept = f"f{dtype.primitive_bitwidth // 8}"
        nan = np.full(pointers.data.shape, np.nan, dtype=kept)
        return interpreter.TensorHandle(nan, dtype)

    def watched(
        kind: str, real: Callable[..., Any], where: int, mask: int
    ) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            touch(kind, args[where], args[mask] if mask else _ONE)
            if kind == "load" and undefined and args[2] is None:
                args = (*args[:2], nothing(args[0]), *args[3:])
            return real(*args)

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


@dataclass
class Log:
    """What ``record`` kept: every touch, in the order in which it happened."""

    touches: list[Touch] = field(default_factory=list)

    def of(self, name: str, kind: str | None = None) -> list[Touch]:
        """Return the touches of one argument, of one kind if given."""
        found = [t for t in self.touches if t.name == name]
        if not found:
            known = ", ".join(sorted({t.name for t in self.touches}))
            raise ValueError(f"name: got {name!r}, expected one of {known}")
        return [t for t in found if kind in (None, t.kind)]

    def count(self, name: str, kind: str | None = None) -> int:
        """How many elements were touched, each as often as it was."""
        return sum(
            int((t.element != MASKED).sum()) for t in self.of(name, kind)
        )

    def outside(self, name: str) -> int:
        """How many touches missed the tensor."""
        return sum(int((t.element == OUTSIDE).sum()) for t in self.of(name))

    def programs(self, name: str, kind: str | None = None) -> np.ndarray:
        """Return a set of programs for each element, in the tensor's shape."""
        found = self.of(name, kind)
        shape = self.of(name)[0].shape
        sets = np.frompyfunc(lambda _: set(), 1, 1)(np.zeros(shape))
        sets = np.asarray(sets, dtype=object).reshape(-1)
        for touch in found:
            for element in np.unique(touch.element[touch.element >= 0]):
                sets[element].add(touch.program)
        return sets.reshape(shape)

    def races(self) -> list[str]:
        """Return arguments with elements that two programs touch.

        Counted are elements which one program stores to and another loads or
        stores; atomics are made for that, and are not counted.
        """
        found = []
        for name in sorted({t.name for t in self.touches}):
            stored = self.programs(name, "store").reshape(-1)
            loaded = self.programs(name, "load").reshape(-1)
            pairs = zip(stored, loaded, strict=True)
            if any(s and len(s | r) > 1 for s, r in pairs):
                found.append(name)
        return found


@contextmanager
def record() -> Iterator[Log]:
    """Keep what the kernels launched inside touch; see ``Log``.

    Raises RuntimeError on a GPU: see ``watch``.
    """
    log = Log()
    with watch(log.touches.append):
        yield log
