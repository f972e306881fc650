"""Exercise 9.8: a mistake found in a picture of touches, a puzzle."""

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

BLOCK = 4


@triton.jit
def halve_kernel(p_x, p_out, rows, cols, x_row, out_row, BLOCK: tl.constexpr):
    """Write x / 2 into out, both (rows, cols).

    Program (i, j) takes BLOCK rows from i * BLOCK on, and BLOCK columns from
    j * BLOCK on.
    """
    o_r = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    o_c = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    m = (o_r < rows)[:, None] & (o_c < cols)[None, :]
    b_x = tl.load(p_x + o_r[:, None] * x_row + o_c[None, :], m)
    tl.store(p_out + o_r[:, None] * out_row + o_c[None, :], b_x / 2, m)


def _run(answer: Any, x: Tensor) -> Any:
    rows, cols = x.shape
    x, out = fenced(x.to(DEVICE)), poisoned(rows, cols, dtype=x.dtype)
    grid = triton.cdiv(rows, BLOCK), triton.cdiv(cols, BLOCK)
    args = (x, out, rows, cols, x.stride(0), out.stride(0))
    return launch(answer, grid, args, [out], BLOCK=BLOCK)


def _cases() -> list[Case]:
    cases = [
        Case(name=f"{m} rows, {n} columns, BLOCK = 4", args=(draw(m, m, n),))
        for m, n in ((4, 4), (4, 3), (3, 4), (8, 4), (6, 9), (9, 6))
    ]
    x = draw(3, 2, 5).half()
    return [*cases, Case(name="2 rows, 5 columns, float16", args=(x,))]


_edited = partial(edited, halve_kernel)
_COLUMNS = "o_c = tl.program_id(1)"

EXERCISE = Exercise(
    id="9.8",
    cases=_cases,
    solution=halve_kernel,
    run=_run,
    tolerance=1e-6,
    mistakes=(
        Mistake(
            key="as before",
            diagnosis="Both mistakes are still there. In the picture only "
            "blocks on the diagonal are touched, each by several programs, "
            "and no column from 6 on. Which line gives columns?",
            wrong=_edited(
                (_COLUMNS, "o_c = tl.program_id(0)"),
                ("o_c < cols", "o_c < rows"),
            ),
        ),
        Mistake(
            key="blocks on the diagonal",
            diagnosis="Rows and columns still begin at the same number, so "
            "only blocks on the diagonal are touched, each by several "
            "programs: columns begin at tl.program_id(1) * BLOCK.",
            wrong=_edited((_COLUMNS, "o_c = tl.program_id(0)")),
        ),
        Mistake(
            key="columns cut off at rows",
            diagnosis="Columns are still compared with the number of rows. "
            "Of a wide matrix the last ones are left out, of a tall one too "
            "many are let through: o_c < cols.",
            wrong=_edited(("o_c < cols", "o_c < rows")),
        ),
        Mistake(
            key="program's places swapped",
            diagnosis="tl.program_id(0) counts blocks of rows, "
            "tl.program_id(1) blocks of columns; you have it the other way.",
            wrong=_edited(
                (_COLUMNS, "o_c = tl.program_id(0)"),
                ("o_r = tl.program_id(0)", "o_r = tl.program_id(1)"),
            ),
        ),
    ),
    hints=(
        "Two things are odd in the picture of p_out: which blocks are filled "
        "at all, and where the second of them ends.",
        "A block's row and column are always the same, so both come from one "
        "number. And columns end at 6, which is the number of rows.",
        "Change two words: o_c = tl.program_id(1) * BLOCK + ..., and the mask "
        "(o_r < rows)[:, None] & (o_c < cols)[None, :].",
    ),
)
