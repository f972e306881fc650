"""Exercise 9.9: a race, repaired, a puzzle."""

from functools import partial
from typing import Any

import triton
import triton.language as tl
from torch import Tensor

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.check.edited import edited
from minidiff.check.kernels import draw, launch
from minidiff.course.kernels import DEVICE
from minidiff.course.kernels.memory import fenced, poisoned

BLOCK = 8


@triton.jit
def column_sums_kernel(p_x, p_out, rows, cols, x_row, BLOCK: tl.constexpr):
    """Add the sum of each column of x (rows, cols) to out (cols,).

    out holds zeros before. Program i takes rows from i * BLOCK on, BLOCK of
    them, and all columns, cols <= BLOCK.
    """
    o_r = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    o_c = tl.arange(0, BLOCK)
    m = (o_r < rows)[:, None] & (o_c < cols)[None, :]
    b_x = tl.load(p_x + o_r[:, None] * x_row + o_c[None, :], m, 0.0)
    tl.atomic_add(p_out + o_c, tl.sum(b_x, 0), o_c < cols)


def _run(answer: Any, x: Tensor) -> Any:
    rows, cols = x.shape
    x, out = fenced(x.to(DEVICE)), poisoned(cols).zero_()
    args = (x, out, rows, cols, x.stride(0))
    grid = (triton.cdiv(rows, BLOCK),)
    return launch(answer, grid, args, [out], BLOCK=BLOCK)


def _cases() -> list[Case]:
    cases = [
        Case(name=f"{m} rows, {n} columns, BLOCK = 8", args=(draw(m, m, n),))
        for m, n in ((8, 8), (8, 5), (5, 8), (16, 8), (21, 3))
    ]
    x = (8 * draw(3, 10, 4)).round().half() / 8  # sums exact in float16
    return [*cases, Case(name="10 rows, 4 columns, float16", args=(x,))]


_edited = partial(edited, column_sums_kernel)
_ADD = "tl.atomic_add(p_out + o_c, tl.sum(b_x, 0), o_c < cols)"

EXERCISE = Exercise(
    id="9.9",
    cases=_cases,
    solution=column_sums_kernel,
    run=_run,
    tolerance=1e-5,
    mistakes=(
        Mistake(
            key="load and store",
            diagnosis="Each program still loads the sum, adds, and stores. "
            "Two of them may load the same old sum. tl.atomic_add(pointers, "
            "values, mask) does all three in one step.",
            wrong=_edited(
                (
                    _ADD,
                    "tl.store(p_out + o_c, tl.load(p_out + o_c, o_c < cols) "
                    "+ tl.sum(b_x, 0), o_c < cols)",
                )
            ),
        ),
        Mistake(
            key="stored, not added",
            diagnosis="Every program stores its own sum over that of the "
            "others. Their sums have to be added: tl.atomic_add.",
            wrong=_edited((_ADD, _ADD.replace("atomic_add", "store"))),
        ),
        Mistake(
            key="sum along the other axis",
            diagnosis="tl.sum(b, 1) adds up along a row. The sum of a column "
            "runs down the rows, along axis 0.",
            wrong=_edited(("tl.sum(b_x, 0)", "tl.sum(b_x, 1)")),
        ),
        Mistake(
            key="atomic without mask",
            diagnosis="tl.atomic_add reaches beyond out. It takes a mask too: "
            "o_c < cols.",
            wrong=_edited((_ADD, _ADD.replace(", o_c < cols", ""))),
        ),
        Mistake(
            key="masked entries undefined",
            diagnosis="The load names no value for what its mask holds back. "
            "On a GPU it is anything, and the sum takes it in: give 0.0 as "
            "third argument.",
            wrong=_edited((", m, 0.0)", ", m)")),
        ),
        Mistake(
            key="load without mask",
            diagnosis="The block reaches beyond x. Load it with the mask m, "
            "and 0.0 where masked.",
            wrong=_edited((", m, 0.0)", ")")),
        ),
    ),
    hints=(
        "Which two lines of the kernel above must not be torn apart by "
        "another program?",
        "The load of the old sum and the store of the new one. Both become "
        "one tl.atomic_add(pointers, values, mask), which needs no old sum.",
        "b_x = tl.load(p_x + o_r[:, None] * x_row + o_c[None, :], m, 0.0); "
        "tl.atomic_add(p_out + o_c, tl.sum(b_x, 0), o_c < cols).",
    ),
)
