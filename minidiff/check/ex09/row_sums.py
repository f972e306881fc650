"""Exercise 9.10: the sums of rows, a block at a time, a puzzle."""

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
def row_sums_kernel(p_x, p_out, cols, x_row, BLOCK: tl.constexpr):
    """Write the sum of each row of x (rows, cols) into out (rows,).

    Program i takes row i, BLOCK columns at a time. Add up in float32.
    """
    i_r = tl.program_id(0)
    b_sum = tl.zeros([BLOCK], tl.float32)
    for start in range(0, cols, BLOCK):
        o_c = start + tl.arange(0, BLOCK)
        b_sum += tl.load(p_x + i_r * x_row + o_c, o_c < cols, 0.0)
    tl.store(p_out + i_r, tl.sum(b_sum, 0))


def _run(answer: Any, x: Tensor) -> Any:
    rows, cols = x.shape
    x, out = fenced(x.to(DEVICE)), poisoned(rows)
    args = (x, out, cols, x.stride(0))
    return launch(answer, (rows,), args, [out], BLOCK=BLOCK)


def _cases() -> list[Case]:
    cases = [
        Case(name=f"{m} rows, {n} columns, BLOCK = 8", args=(draw(n, m, n),))
        for m, n in ((1, 8), (2, 8), (2, 24), (3, 5), (2, 21), (1, 1))
    ]
    # In float16 such a sum is a multiple of 2, and here it is odd.
    x = (1000 + draw(0, 1, 3).sign()).half()
    return [*cases, Case(name="1 row, 3 columns, float16", args=(x,))]


_edited = partial(edited, row_sums_kernel)
_LOAD = "o_c < cols, 0.0)"

EXERCISE = Exercise(
    id="9.10",
    cases=_cases,
    solution=row_sums_kernel,
    run=_run,
    tolerance=1e-5,
    mistakes=(
        Mistake(
            key="last block only",
            diagnosis="Only the last block is in your sum: each step writes "
            "over the one before. Add to it: b_sum += ...",
            wrong=_edited(("b_sum += ", "b_sum = ")),
            also=(_edited(("b_sum += ", "b_sum = 0 * b_sum + ")),),
        ),
        Mistake(
            key="masked entries undefined",
            diagnosis="The load names no value for what its mask holds back. "
            "On a GPU it is anything, and the sum takes it in: give 0.0.",
            wrong=_edited((_LOAD, "o_c < cols)")),
        ),
        Mistake(
            key="load without mask",
            diagnosis="The last block reaches beyond the row. Load it with "
            "the mask o_c < cols, and 0.0 where masked.",
            wrong=_edited((", " + _LOAD, ")")),
            also=(_edited((_LOAD, "tl.arange(0, BLOCK) < cols, 0.0)")),),
        ),
        Mistake(
            key="width for stride",
            diagnosis="Row i begins at i * x_row. Rows lie further apart than "
            "they are wide.",
            wrong=_edited(("i_r * x_row", "i_r * cols")),
        ),
        Mistake(
            key="same row for all",
            diagnosis="Every program reads row 0. Program i takes row i, "
            "which begins i * x_row after the first.",
            wrong=_edited(("i_r * x_row + ", "")),
        ),
        Mistake(
            key="added up in float16",
            diagnosis="The numbers are added in float16, which has no odd "
            "numbers above 2048. Add to b_sum, which is float32, or convert "
            "each block first: b.to(tl.float32).",
            wrong=_edited(
                ("BLOCK], tl.float32", "BLOCK], p_x.dtype.element_ty")
            ),
        ),
    ),
    hints=(
        "b_sum holds BLOCK sums, one for each place in a block. What does a "
        "step add to it, and what must stand in where masked?",
        "Inside the loop: b_sum += tl.load(pointers, o_c < cols, 0.0). After "
        "it BLOCK sums are left, and tl.sum(b_sum, 0) adds them up.",
        "b_sum += tl.load(p_x + i_r * x_row + o_c, o_c < cols, 0.0) in the "
        "loop; tl.store(p_out + i_r, tl.sum(b_sum, 0)) after it.",
    ),
)
