"""Exercise 9.2: a transposed copy, through strides."""

from typing import Any

import triton
import triton.language as tl
from torch import Tensor

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.check.edited import edited
from minidiff.check.kernels import Variant, draw, launch
from minidiff.course.kernels import DEVICE
from minidiff.course.kernels.memory import fenced, poisoned

BLOCK = 4


@triton.jit
def transpose_kernel(
    p_x, p_out, rows, cols, x_row, out_row, BLOCK: tl.constexpr
):
    """Write x (rows, cols) transposed into out (cols, rows).

    x_row and out_row are strides: from a row to the next, in elements.
    Program (i, j) takes BLOCK rows of x from i * BLOCK on, and BLOCK
    columns from j * BLOCK on.
    """
    o_r = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    o_c = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    # (BLOCK, BLOCK): rows of x, columns of x
    m = (o_r < rows)[:, None] & (o_c < cols)[None, :]
    b_x = tl.load(p_x + o_r[:, None] * x_row + o_c[None, :], m)
    tl.store(p_out + o_c[None, :] * out_row + o_r[:, None], b_x, m)


def _run(answer: Any, x: Tensor) -> Any:
    rows, cols = x.shape
    x, out = fenced(x.to(DEVICE)), poisoned(cols, rows)
    args = (x, out, rows, cols, x.stride(0), out.stride(0))
    grid = triton.cdiv(rows, BLOCK), triton.cdiv(cols, BLOCK)
    return launch(answer, grid, args, [out], BLOCK=BLOCK)


def _cases() -> list[Case]:
    return [
        Case(name=f"{m} rows, {n} columns, BLOCK = 4", args=(draw(m, m, n),))
        for m, n in ((4, 4), (8, 8), (8, 4), (3, 4), (4, 3), (7, 9), (1, 6))
    ]


@triton.jit
def _wrong(
    p_x, p_out, rows, cols, x_row, out_row, BLOCK: tl.constexpr,
    WRONG: tl.constexpr,
):  # fmt: skip
    o_r = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    o_c = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    if WRONG == "overlap":
        o_r = tl.arange(0, BLOCK)
        o_c = tl.arange(0, BLOCK)
    m = (o_r < rows)[:, None] & (o_c < cols)[None, :]
    m_load = m
    m_store = m
    if WRONG == "load":
        m_load = m | (o_r[:, None] >= 0)
    if WRONG == "store":
        m_store = m | (o_r[:, None] >= 0)
    if WRONG == "axes":
        m_load = (o_r < cols)[:, None] & (o_c < rows)[None, :]
        m_store = m_load
    step_x = x_row
    step_out = out_row
    if WRONG == "swapped":
        step_x = out_row
        step_out = x_row
    if WRONG == "width of x" or WRONG == "widths":
        step_x = cols
    if WRONG == "width of out" or WRONG == "widths":
        step_out = rows
    b_x = tl.load(p_x + o_r[:, None] * step_x + o_c[None, :], m_load)
    if WRONG == "copy":
        tl.store(p_out + o_r[:, None] * step_out + o_c[None, :], b_x, m_store)
    elif WRONG == "in place":
        o_l = tl.arange(0, BLOCK)
        p_block = p_out + tl.program_id(0) * BLOCK * step_out
        p_block += tl.program_id(1) * BLOCK
        p_block += o_l[None, :] * step_out + o_l[:, None]
        tl.store(p_block, b_x, m_store)
    else:
        tl.store(p_out + o_c[None, :] * step_out + o_r[:, None], b_x, m_store)


_TURNED = (
    "o_c[None, :] * out_row + o_r[:, None]",
    "o_c[:, None] * out_row + o_r[None, :]",
)
_MASK_TURNED = ("b_x, m)", "b_x, tl.trans(m))")
_ZEROS = ("o_c[None, :], m)", "o_c[None, :], m, 0.0)")
_FLAT = ("[:, None]", ""), ("[None, :]", "")
_AXES = (
    "    tl.store",
    "    m_out = (o_r < cols)[:, None] & (o_c < rows)[None, :]\n    tl.store",
)
_ROWS = "(o_r < rows)[:, None]"
_COLUMNS = "(o_c < cols)[None, :]"


EXERCISE = Exercise(
    id="9.2",
    cases=_cases,
    solution=transpose_kernel,
    run=_run,
    mistakes=(
        Mistake(
            key="not transposed",
            diagnosis="You copy x as it is. Row r, column c of x goes to row "
            "c, column r of out: there c is multiplied by out_row.",
            wrong=Variant(_wrong, WRONG="copy"),
        ),
        Mistake(
            key="block not turned",
            diagnosis="The places are right, the block still lies as in x. "
            "Turn it by tl.trans(b), its mask too; or give the places as "
            "o_c[None, :] * out_row + o_r[:, None], and the block may stay.",
            wrong=edited(transpose_kernel, _TURNED),
            also=(
                edited(transpose_kernel, _TURNED, _MASK_TURNED),
                edited(transpose_kernel, _TURNED, _MASK_TURNED, _ZEROS),
            ),
        ),
        Mistake(
            key="blocks stay in place",
            diagnosis="Each block is transposed, but stays where it was. "
            "Block (i, j) of x is block (j, i) of out.",
            wrong=Variant(_wrong, WRONG="in place"),
        ),
        Mistake(
            key="width for stride",
            diagnosis="You step from row to row by a row's length. Rows lie "
            "further apart here: x_row and out_row say how far.",
            wrong=Variant(_wrong, WRONG="width of x"),
            also=(
                Variant(_wrong, WRONG="width of out"),
                Variant(_wrong, WRONG="widths"),
            ),
        ),
        Mistake(
            key="strides swapped",
            diagnosis="A stride of the other matrix: rows of x lie x_row "
            "elements apart, rows of out out_row.",
            wrong=Variant(_wrong, WRONG="swapped"),
            also=(
                edited(transpose_kernel, ("* out_row", "* x_row")),
                edited(transpose_kernel, ("* x_row", "* out_row")),
            ),
        ),
        Mistake(
            key="mask of the other axes",
            diagnosis="Your mask compares rows with cols and columns with "
            "rows. Offsets of rows are below rows.",
            wrong=Variant(_wrong, WRONG="axes"),
        ),
        Mistake(
            key="load without mask",
            diagnosis="A block at the lower or right edge reaches beyond x. "
            "The load needs a mask for rows and for columns, joined by &, "
            "each comparison in brackets.",
            wrong=Variant(_wrong, WRONG="load"),
        ),
        Mistake(
            key="half a mask",
            diagnosis="Of rows and columns your mask checks only one. It "
            "needs both conditions, joined by &; `and` keeps one of them.",
            wrong=edited(transpose_kernel, (_COLUMNS, "(o_c >= 0)[None, :]")),
            also=(
                edited(transpose_kernel, (_ROWS, "(o_r >= 0)[:, None]")),
                edited(transpose_kernel, (f"{_ROWS} & {_COLUMNS}", _COLUMNS)),
            ),
        ),
        Mistake(
            key="store without mask",
            diagnosis="The store reaches beyond out: it has no mask, or one "
            "that does not fit its block. If the block is stored as it was "
            "loaded, the mask of the load fits; if it is turned, so is its "
            "mask.",
            wrong=Variant(_wrong, WRONG="store"),
            also=(
                edited(transpose_kernel, ("b_x, m)", "b_x, m_out)"), _AXES),
            ),
        ),
        Mistake(
            key="[:, None] forgotten",
            diagnosis="Offsets of rows and of columns are added entry by "
            "entry, so only the diagonal of each block is copied. Make the "
            "rows a column, o_r[:, None], and the columns a row, "
            "o_c[None, :], in the pointers and in the mask.",
            wrong=edited(transpose_kernel, *_FLAT),
        ),
        Mistake(
            key="program's places swapped",
            diagnosis="tl.program_id(0) counts blocks of rows of x, "
            "tl.program_id(1) blocks of columns; you have it the other way.",
            wrong=edited(
                transpose_kernel,
                ("o_r = tl.program_id(0)", "o_r = tl.program_id(1)"),
                ("o_c = tl.program_id(1)", "o_c = tl.program_id(0)"),
            ),
        ),
        Mistake(
            key="programs overlap",
            diagnosis="All programs take the same block. Program (i, j) "
            "begins at row i * BLOCK and column j * BLOCK of x; i is "
            "tl.program_id(0), j is tl.program_id(1).",
            wrong=Variant(_wrong, WRONG="overlap"),
        ),
    ),
    hints=(
        "Write down, for row r and column c of x, where it lies counted from "
        "p_x, and where it goes counted from p_out.",
        "It lies at r * x_row + c and goes to c * out_row + r. With "
        "o_r[:, None] and o_c[None, :] for r and c both are blocks of "
        "BLOCK times BLOCK offsets; so is the mask.",
        "m = (o_r < rows)[:, None] & (o_c < cols)[None, :]; b_x = tl.load("
        "p_x + o_r[:, None] * x_row + o_c[None, :], m); tl.store(p_out + "
        "o_c[None, :] * out_row + o_r[:, None], b_x, m).",
    ),
    tolerance=1e-6,
)
