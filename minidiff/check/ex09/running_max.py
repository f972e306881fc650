"""Exercise 9.11: the largest number so far, a puzzle."""

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
def running_max_kernel(p_x, p_out, cols, x_row, out_row, BLOCK: tl.constexpr):
    """Write the largest number so far of each row of x, block by block.

    x (rows, cols), out (rows, blocks): out[i, k] is the largest of the first
    (k + 1) * BLOCK numbers of row i. Program i takes row i.
    """
    i_r = tl.program_id(0)
    top = float("-inf")
    for k in range(tl.cdiv(cols, BLOCK)):
        o_c = k * BLOCK + tl.arange(0, BLOCK)
        p_row = p_x + i_r * x_row
        b_x = tl.load(p_row + o_c, o_c < cols, float("-inf"))
        top = tl.maximum(top, tl.max(b_x, 0))
        tl.store(p_out + i_r * out_row + k, top)


def _run(answer: Any, x: Tensor) -> Any:
    rows, cols = x.shape
    x = fenced(x.to(DEVICE))
    out = poisoned(rows, triton.cdiv(cols, BLOCK), dtype=x.dtype)
    args = (x, out, cols, x.stride(0), out.stride(0))
    return launch(answer, (rows,), args, [out], BLOCK=BLOCK)


def _cases() -> list[Case]:
    x = draw(0, 2, 14)
    return [
        Case(name=name, args=(x,))
        for name, x in {
            "2 rows, 4 columns, BLOCK = 4": 5 + x[:, :4],
            "1 row, 12 columns, the largest first": 20 - x[:1, :12].cumsum(1),
            "2 rows, 12 columns": 5 + x[:, :12],
            "2 rows, 14 columns": 5 + x,
            "2 rows, 14 columns, all near -300": x - 300,
            "2 rows, 14 columns, all near -3e9": 300 * x - 3e9,
            "2 rows, 6 columns, near -300, float16": (x[:, :6] - 300).half(),
        }.items()
    ]


_edited = partial(edited, running_max_kernel)
_LOAD = 'o_c < cols, float("-inf"))'

EXERCISE = Exercise(
    id="9.11",
    cases=_cases,
    solution=running_max_kernel,
    run=_run,
    tolerance=1e-6,
    mistakes=(
        Mistake(
            key="starts at zero",
            diagnosis="The largest so far starts at 0, so a row of negative "
            'numbers never gets its own. Start below all: float("-inf").',
            wrong=_edited(('top = float("-inf")', "top = 0.0")),
            also=(
                _edited(
                    ('top = float("-inf")', "top = 0.0"),
                    (_LOAD, "o_c < cols, 0.0)"),
                ),
            ),
        ),
        Mistake(
            key="maximum of the block",
            diagnosis="This is the largest of each block by itself. Compare "
            "it with the largest so far: tl.maximum(top, ...).",
            wrong=_edited(
                ("tl.maximum(top, tl.max(b_x, 0))", "tl.max(b_x, 0)")
            ),
        ),
        Mistake(
            key="masked entries zero",
            diagnosis="What the mask holds back is read as 0, which is larger "
            'than any negative number: give float("-inf") as third argument.',
            wrong=_edited((_LOAD, "o_c < cols, 0.0)")),
        ),
        Mistake(
            key="load without mask",
            diagnosis="The last block reaches beyond the row. Load it with "
            'the mask o_c < cols, and float("-inf") where masked.',
            wrong=_edited((", " + _LOAD, ")")),
            also=(
                _edited((_LOAD, _LOAD.replace("o_c", "tl.arange(0, BLOCK)"))),
            ),
        ),
        Mistake(
            key="wrong stride",
            diagnosis="Row i of x begins at i * x_row, row i of out at "
            "i * out_row: neither at i times a width.",
            wrong=_edited(("i_r * x_row", "i_r * cols")),
            also=(
                _edited(("i_r * out_row", "i_r * x_row")),
                _edited(("i_r * out_row", "i_r * tl.cdiv(cols, BLOCK)")),
            ),
        ),
        Mistake(
            key="stored once",
            diagnosis="Only one column of out is written. Store in each step, "
            "inside the loop, at k.",
            wrong=_edited(("        tl.store", "    tl.store")),
            also=(_edited(("out_row + k, top", "out_row, top")),),
        ),
    ),
    hints=(
        "One number is carried from step to step. Which one, and what is it "
        "before the first step?",
        'top = float("-inf") before the loop. In it: load a block, -inf where '
        "masked, take the larger of top and the block's largest, store it.",
        'b_x = tl.load(p_row + o_c, o_c < cols, float("-inf")); '
        "top = tl.maximum(top, tl.max(b_x, 0)); "
        "tl.store(p_out + i_r * out_row + k, top).",
    ),
)
