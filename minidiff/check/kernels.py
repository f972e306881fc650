"""Launch of kernels in checks, with every memory access verified."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from types import TracebackType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from minidiff.check.compare import as_array
from minidiff.course.kernels import INTERPRETED
from minidiff.course.kernels.memory import bits, outside_touched
from minidiff.course.kernels.trace import MASKED, OUTSIDE, Touch, watch

# isort: split
from triton.runtime import JITFunction, KernelInterface


class TouchError(Exception):
    """A kernel makes a wrong memory access; ``key`` says what and how."""

    def __init__(self, text: str, *key: str) -> None:
        super().__init__(text)
        self.key = key


class ReadsOutsideError(TouchError):
    """A kernel reads outside a tensor."""


class WritesOutsideError(TouchError):
    """A kernel writes outside a tensor, or into an input."""


class RaceError(TouchError):
    """Two programs access one element of an output, and one writes it."""


class NothingWrittenError(Exception):
    """A kernel reads but never writes."""


def launch(
    kernel: Any,
    grid: tuple[int, ...],
    args: Sequence[Any],
    out: Sequence[Tensor],
    look: Callable[[Touch], None] = lambda touch: None,
    **meta: Any,
) -> tuple[np.ndarray, ...] | None:
    """Launch an answer, and return what it wrote into ``out``, in float64.

    ``args`` are all its arguments in order, including the tensors of
    ``out``: ``poisoned`` ones, or zeros if the kernel adds atomically.
    ``meta`` are the constexpr arguments. Returns None if the kernel accesses
    no memory at all, as a stub.

    In the interpreter every access is checked before it happens, so that a
    wrong answer cannot crash the notebook. An access outside a tensor, a
    write into an input, and a race of two programs for an element of an
    output raise the errors above. Elements that a mask excludes from a load
    without ``other`` are NaN. ``look`` is called with each access too. On a
    GPU only damage that remains afterwards is found: changed inputs and
    changed guard elements around the tensors. An error inside the kernel is
    raised unchanged.
    """
    _expect_kernel(kernel)
    guard = _Guard(kernel.arg_names, args, out)
    # Compare bits: NaN is not equal to NaN, and poisoned tensors hold NaN.
    before = [bits(x).clone() for x in args if isinstance(x, Tensor)]

    def tell(touch: Touch) -> None:
        guard(touch)
        look(touch)

    try:
        with watch(tell, undefined=True) if INTERPRETED else nullcontext():
            kernel[grid](*args, **meta)
    except Exception as error:
        raise _inner(error) from None
    after = [bits(x) for x in args if isinstance(x, Tensor)]
    changed = {
        name
        for name, x, y in zip(guard.tensors, before, after, strict=True)
        if not x.equal(y)
    }
    for name in guard.tensors:
        if name in guard.outputs:
            x = guard.outputs[name]
            if count := outside_touched(x):
                raise WritesOutsideError(
                    f"{count} elements around {name} were written to",
                    "store",
                    name,
                )
        elif name in changed:
            raise WritesOutsideError(f"{name} is an input", "input", name)
    if not changed and not guard.wrote:
        if guard.read:
            raise NothingWrittenError(
                "your kernel reads and never writes: is a tl.store missing?"
            )
        return None
    return tuple(as_array(x) for x in out)


class Variant(KernelInterface):  # type: ignore[misc]  # its base is Any
    """A kernel with some of its constexpr arguments fixed.

    Wrong answers differ from the right one in a line or two. So one kernel
    holds them all, and a constexpr argument selects the wrong line:
    ``Variant(kernel, WRONG="...")``.
    """

    def __init__(self, kernel: Any, **fixed: Any) -> None:
        self.kernel, self.fixed = kernel, fixed
        self.arg_names = kernel.arg_names

    def __call__(self, *args: Any, **meta: Any) -> Any:
        """Make the object callable, as kernels are."""
        return self.kernel(*args, **meta, **self.fixed)

    def run(self, *args: Any, **meta: Any) -> Any:
        """Launch the kernel; ``kernel[grid](...)`` calls this method."""
        return self.kernel.run(*args, **meta, **self.fixed)


def _expect_kernel(kernel: Any) -> None:
    if not isinstance(kernel, KernelInterface):
        raise TypeError(
            f"got a {type(kernel).__name__}, expected a kernel: is the line "
            "@triton.jit above it missing?"
        )
    if INTERPRETED and isinstance(kernel, JITFunction):
        raise TypeError(
            "this kernel was defined before minidiff.course.kernels was "
            "imported: define it again"
        )


def _inner(error: BaseException) -> BaseException:
    """Return a kernel's own error, without the interpreter's wrapping.

    The interpreter wraps it once more for each function that the kernel
    calls. The traceback returned has the frames of them all.
    """
    while type(error).__name__ == "InterpreterError" and error.__cause__:
        cause, outer = error.__cause__, error.__traceback__
        chain = cause.__traceback__
        for one in reversed(_each(outer)):
            chain = TracebackType(
                chain, one.tb_frame, one.tb_lasti, one.tb_lineno
            )
        error = cause.with_traceback(chain)
    return error


def _each(traceback: TracebackType | None) -> list[TracebackType]:
    """Return a traceback and all that follow it, outermost first."""
    found = []
    while traceback is not None:
        found.append(traceback)
        traceback = traceback.tb_next
    return found


class _Guard:
    """Check of each memory access before it happens."""

    def __init__(
        self, names: Sequence[str], args: Sequence[Any], out: Sequence[Tensor]
    ) -> None:
        given = dict(zip(names, args, strict=False))
        self.tensors = [n for n, x in given.items() if isinstance(x, Tensor)]
        self.outputs = {
            n: given[n]
            for n in self.tensors
            if any(given[n] is x for x in out)
        }
        # The program that wrote an element: its number, or -1.
        self.owner = {
            n: np.full(x.numel(), -1) for n, x in self.outputs.items()
        }
        self.programs: dict[tuple[int, ...], int] = {}
        self.read = self.wrote = False

    def __call__(self, touch: Touch) -> None:
        if touch.kind == "load":
            self.read = True
        else:
            self.wrote = True
        verb = "reads" if touch.kind == "load" else "writes"
        at = touch.element[touch.element != MASKED]
        who = _program(touch.program)
        if (outside := int((at == OUTSIDE).sum())) > 0:
            s = "" if outside == 1 else "s"
            error = (
                ReadsOutsideError
                if touch.kind == "load"
                else WritesOutsideError
            )
            raise error(
                f"{who} {verb} {outside} element{s} outside {touch.name}, "
                f"which has shape {touch.shape}",
                touch.kind,
                touch.name,
            )
        if touch.name not in self.outputs:
            if touch.kind != "load":
                raise WritesOutsideError(
                    f"{who} writes into {touch.name}, which is an input",
                    "input",
                    touch.name,
                )
            return
        if touch.kind == "atomic":
            return
        me = self.programs.setdefault(touch.program, len(self.programs))
        owner = self.owner[touch.name]
        others = (owner[at] != -1) & (owner[at] != me)
        if others.any():
            element = at[others][0]
            first = list(self.programs)[owner[element]]
            where = [int(i) for i in np.unravel_index(element, touch.shape)]
            raise RaceError(
                f"{who} {verb} element {where} of {touch.name}, which "
                f"{_program(first)} wrote; on a GPU both run at once, and "
                "either may come first",
                touch.kind,
                touch.name,
            )
        if touch.kind == "store":
            owner[at] = me


def _program(program: tuple[int, ...]) -> str:
    """Name a program: "program 3", or "program (3, 1)" in a 2D grid."""
    shown = list(program)
    while len(shown) > 1 and shown[-1] == 0:
        shown.pop()
    return f"program {shown[0] if len(shown) == 1 else tuple(shown)}"


def draw(seed: int, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Draw a normal tensor on the CPU; it is the same on every machine."""
    g = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=g).to(dtype)
