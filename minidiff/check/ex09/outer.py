"""Exercise 9.6: a column plus a row, a puzzle."""

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
def outer_kernel(p_x, p_y, p_out, rows, cols, out_row, BLOCK: tl.constexpr):
    """Write out[r, c] = x[r] + y[c] for x (rows,) and y (cols,).

    Program (i, j) takes BLOCK rows from i * BLOCK on, and BLOCK columns from
    j * BLOCK on. Rows of out lie out_row elements apart.
    """
    o_r = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    o_c = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    # (BLOCK,)
    b_x = tl.load(p_x + o_r, o_r < rows)
    b_y = tl.load(p_y + o_c, o_c < cols)
    # (BLOCK, BLOCK)
    b_out = b_x[:, None] + b_y[None, :]
    m = (o_r < rows)[:, None] & (o_c < cols)[None, :]
    tl.store(p_out + o_r[:, None] * out_row + o_c[None, :], b_out, m)


def _run(answer: Any, x: Tensor, y: Tensor) -> Any:
    rows, cols = len(x), len(y)
    x, y = fenced(x.to(DEVICE)), fenced(y.to(DEVICE))
    out = poisoned(rows, cols, dtype=x.dtype)
    grid = triton.cdiv(rows, BLOCK), triton.cdiv(cols, BLOCK)
    args = (x, y, out, rows, cols, out.stride(0))
    return launch(answer, grid, args, [out], BLOCK=BLOCK)


def _cases() -> list[Case]:
    cases = [
        Case(
            name=f"{rows} rows, {cols} columns, BLOCK = 4",
            args=(draw(rows, rows), draw(cols + 50, cols)),
        )
        for rows, cols in ((4, 4), (4, 8), (8, 4), (4, 3), (3, 4), (6, 9))
    ]
    args = draw(1, 5).half(), draw(2, 3).half()
    return [*cases, Case(name="5 rows, 3 columns, float16", args=args)]


_edited = partial(edited, outer_kernel)
_SUM = "b_x[:, None] + b_y[None, :]"
_ZEROS = (
    ("o_r < rows)\n", "o_r < rows, 0.0)\n"),
    (
        "o_c < cols)\n",
        "o_c < cols, 0.0)\n",
    ),
)
_MASK = "(o_r < rows)[:, None] & (o_c < cols)[None, :]"

EXERCISE = Exercise(
    id="9.6",
    cases=_cases,
    solution=outer_kernel,
    run=_run,
    tolerance=1e-6,
    mistakes=(
        Mistake(
            key="not broadcast",
            diagnosis="b_x + b_y adds them entry by entry: BLOCK sums instead "
            "of BLOCK times BLOCK. Make x a column and y a row: "
            "b_x[:, None] + b_y[None, :].",
            wrong=_edited((_SUM, "b_x + b_y")),
            also=(
                _edited((_SUM, "b_x + b_y"), *_ZEROS),
                _edited((_SUM, "(b_x + b_y)[:, None]")),
                _edited((_SUM, "(b_x + b_y)[:, None]"), *_ZEROS),
            ),
        ),
        Mistake(
            key="row and column exchanged",
            diagnosis="x runs along the columns of out here, and y down its "
            "rows. x is the column, b_x[:, None], and y the row, "
            "b_y[None, :].",
            wrong=_edited((_SUM, "b_x[None, :] + b_y[:, None]")),
            also=(_edited((_SUM, "b_x[None, :] + b_y[:, None]"), *_ZEROS),),
        ),
        Mistake(
            key="load without mask",
            diagnosis="The last block reaches beyond x or y. Their loads need "
            "masks too: o_r < rows for x, o_c < cols for y.",
            wrong=_edited(
                ("p_x + o_r, o_r < rows", "p_x + o_r"),
                ("p_y + o_c, o_c < cols", "p_y + o_c"),
            ),
            also=(
                _edited(("p_x + o_r, o_r < rows", "p_x + o_r")),
                _edited(("p_y + o_c, o_c < cols", "p_y + o_c")),
            ),
        ),
        Mistake(
            key="store beyond the edge",
            diagnosis="The store reaches beyond out. Its mask has two axes, "
            "as the block has: rows and columns, joined by &.",
            wrong=_edited(("b_out, m)", "b_out)")),
            also=(
                _edited((_MASK, "(o_r < rows)[:, None]")),
                _edited((_MASK, "(o_c < cols)[None, :]")),
                _edited(
                    (_MASK, "(o_r < rows)[None, :] & (o_c < cols)[:, None]")
                ),
            ),
        ),
        Mistake(
            key="width for stride",
            diagnosis="Rows of out lie out_row elements apart, not cols.",
            wrong=_edited(("* out_row", "* cols")),
        ),
    ),
    hints=(
        "Which axis of out does x run along? Load BLOCK numbers of x and "
        "BLOCK numbers of y; each load has a mask of its own.",
        "b_x[:, None] is a column, b_y[None, :] a row, and their sum a block "
        "of BLOCK times BLOCK. So are the pointers and the mask of the store.",
        "b_x = tl.load(p_x + o_r, o_r < rows), b_y likewise; m = (o_r < rows)"
        "[:, None] & (o_c < cols)[None, :]; tl.store(p_out + o_r[:, None] * "
        "out_row + o_c[None, :], b_x[:, None] + b_y[None, :], m).",
    ),
)
