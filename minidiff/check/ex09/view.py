"""Exercise 9.7: a copy of any strided view, a puzzle."""

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
def view_kernel(
    p_x, p_out, rows, cols, x_row, x_col, out_row, BLOCK: tl.constexpr
):
    """Copy x (rows, cols) into out, for any two strides of x.

    Element (r, c) of x lies r * x_row + c * x_col after the first. Columns of
    out lie side by side. Program (i, j) takes BLOCK rows and BLOCK columns.
    """
    o_r = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    o_c = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    m = (o_r < rows)[:, None] & (o_c < cols)[None, :]
    b_x = tl.load(p_x + o_r[:, None] * x_row + o_c[None, :] * x_col, m)
    tl.store(p_out + o_r[:, None] * out_row + o_c[None, :], b_x, m)


def _views(x: Tensor) -> dict[str, Tensor]:
    return {
        "a whole tensor": x[:4, :4],
        "every second column, x[:, ::2]": x[:, ::2],
        "every second row, x[::2]": x[::2],
        "transposed, x.T": x.T,
    }


def _run(answer: Any, x: Tensor, name: str) -> Any:
    view = _views(fenced(x.to(DEVICE)))[name]
    (rows, cols), out = view.shape, poisoned(*view.shape, dtype=x.dtype)
    grid = triton.cdiv(rows, BLOCK), triton.cdiv(cols, BLOCK)
    args = (view, out, rows, cols, *view.stride(), out.stride(0))
    return launch(answer, grid, args, [out], BLOCK=BLOCK)


def _cases() -> list[Case]:
    x = draw(0, 9, 7)
    cases = [Case(name=name, args=(x, name)) for name in _views(x)]
    name = "every second column, x[:, ::2]"
    return [*cases, Case(name=f"{name}, float16", args=(x.half(), name))]


_edited = partial(edited, view_kernel)

EXERCISE = Exercise(
    id="9.7",
    cases=_cases,
    solution=view_kernel,
    run=_run,
    tolerance=1e-6,
    mistakes=(
        Mistake(
            key="columns side by side",
            diagnosis="You read columns of x as if they lay side by side. "
            "They lie x_col elements apart: o_c[None, :] * x_col.",
            wrong=_edited(("o_c[None, :] * x_col", "o_c[None, :]")),
        ),
        Mistake(
            key="strides exchanged",
            diagnosis="The strides of x have changed places: a row is x_row "
            "further, a column x_col.",
            wrong=_edited(
                ("[:, None] * x_row", "[:, None] * x_col"),
                ("[None, :] * x_col", "[None, :] * x_row"),
            ),
        ),
        Mistake(
            key="strides of x for out",
            diagnosis="out has strides of its own: a row is out_row further, "
            "and columns lie side by side.",
            wrong=_edited(
                ("* out_row + o_c[None, :]", "* x_row + o_c[None, :] * x_col")
            ),
            also=(
                _edited(("* out_row", "* x_row")),
                _edited(
                    ("out_row + o_c[None, :]", "out_row + o_c[None, :] * 2")
                ),
            ),
        ),
        Mistake(
            key="mask forgotten",
            diagnosis="The last blocks reach beyond the tensor. The load and "
            "the store both take the mask m.",
            wrong=_edited(("x_col, m)", "x_col)")),
            also=(
                _edited(("b_x, m)", "b_x)")),
                _edited(("b_x, m)", "b_x)"), ("x_col, m)", "x_col)")),
            ),
        ),
    ),
    hints=(
        "Exercise 9.2 read x with one stride, since its columns lay side by "
        "side. What is different here?",
        "A column is x_col elements further, so the offsets of columns are "
        "multiplied as well. The store is as usual.",
        "b_x = tl.load(p_x + o_r[:, None] * x_row + o_c[None, :] * x_col, m); "
        "tl.store(p_out + o_r[:, None] * out_row + o_c[None, :], b_x, m).",
    ),
)
