"""Exercise 9.3: softmax of rows, one program a row."""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.check.edited import edited
from minidiff.check.kernels import Variant, draw, launch
from minidiff.course.kernels import DEVICE
from minidiff.course.kernels.memory import fenced, poisoned


@triton.jit
def softmax_kernel(p_x, p_out, width, x_row, out_row, BLOCK: tl.constexpr):
    """Write the softmax of each row of x into out, both (rows, width).

    x_row and out_row are the strides of their rows. Program i takes row i.
    BLOCK is a power of two, width or more. Compute in float32.
    """
    i_r = tl.program_id(0)
    o_w = tl.arange(0, BLOCK)
    m_w = o_w < width
    # (BLOCK,)
    b_x = tl.load(p_x + i_r * x_row + o_w, m_w, float("-inf"))
    b_x = b_x.to(tl.float32)
    b_e = tl.exp(b_x - tl.max(b_x, 0))
    tl.store(p_out + i_r * out_row + o_w, b_e / tl.sum(b_e, 0), m_w)


def _run(answer: Any, x: Tensor) -> Any:
    rows, width = x.shape
    # Rows of x lie further apart than those of out.
    x = fenced(torch.cat([x, x], 1).to(DEVICE))[:, :width]
    out = poisoned(rows, width)
    args = (x, out, width, x.stride(0), out.stride(0))
    block = triton.next_power_of_2(width)
    return launch(answer, (rows,), args, [out], BLOCK=block)


def _cases() -> list[Case]:
    cases = {
        "1 row, width 8": draw(8, 1, 8),
        "3 rows, width 8": draw(8, 3, 8),
        "3 rows, width 5": draw(5, 3, 5),
        "2 rows, width 16, large numbers": 200 * draw(16, 2, 16),
        "2 rows, width 5, all near -300": draw(4, 2, 5) - 300,
        "2 rows, width 5, all near -3e9": 300 * draw(4, 2, 5) - 3e9,
        "2 rows, width 4, float16": draw(4, 2, 4).half(),
        "2 rows, width 6, all near -300, float16": (
            (draw(6, 2, 6) - 300).half()
        ),
        "2 rows, width 1": draw(1, 2, 1),
    }
    return [Case(name=name, args=(x,)) for name, x in cases.items()]


@triton.jit
def _wrong(
    p_x, p_out, width, x_row, out_row, BLOCK: tl.constexpr,
    WRONG: tl.constexpr,
):  # fmt: skip
    i_r = tl.program_id(0)
    o_w = tl.arange(0, BLOCK)
    m_w = o_w < width
    p_row = p_x + i_r * x_row + o_w
    p_end = p_out + i_r * out_row + o_w
    if WRONG == "stride of x":
        p_row = p_x + i_r * width + o_w
    if WRONG == "stride of out":
        p_end = p_out + i_r * x_row + o_w
    if WRONG == "width of out":
        p_end = p_out + i_r * width + o_w
    if WRONG == "row":
        p_row = p_x + o_w
    if WRONG == "rows":
        p_row = p_x + o_w
        p_end = p_out + o_w
    if WRONG == "load":
        b_x = tl.load(p_row)
    elif WRONG == "undefined":
        b_x = tl.load(p_row, m_w)
    elif WRONG == "zero":
        b_x = tl.load(p_row, m_w, 0.0)
    else:
        b_x = tl.load(p_row, m_w, float("-inf"))
    b_x = b_x.to(tl.float32)
    if WRONG == "max":
        b_e = tl.exp(b_x)
    elif WRONG == "base":
        b_e = tl.exp2(b_x - tl.max(b_x, 0))
    else:
        b_e = tl.exp(b_x - tl.max(b_x, 0))
    if WRONG != "sum":
        b_e = b_e / tl.sum(b_e, 0)
    if WRONG == "store":
        tl.store(p_end, b_e)
    else:
        tl.store(p_end, b_e, m_w)


_ONLY_THERE = "tl.where(m_w, tl.exp(b_x - tl.max(b_x, 0)), 0.0)"

EXERCISE = Exercise(
    id="9.3",
    cases=_cases,
    solution=softmax_kernel,
    run=_run,
    mistakes=(
        Mistake(
            key="load without mask",
            diagnosis="The block is wider than the row, and the load has no "
            "mask, or one with <=, which lets one too many through: it takes "
            "in what lies behind the row.",
            wrong=Variant(_wrong, WRONG="load"),
        ),
        Mistake(
            key="masked entries undefined",
            diagnosis="Nothing harmless stands in for the entries that the "
            "load's mask holds back. Where no value is named, on a GPU they "
            'hold anything: give float("-inf") as third argument.',
            wrong=Variant(_wrong, WRONG="undefined"),
        ),
        Mistake(
            key="masked entries zero",
            diagnosis="Entries beyond the row are read as 0, and exp(0) "
            'counts in the sum. Read them as float("-inf"): its exponential '
            "is 0, and it is never the largest.",
            wrong=Variant(_wrong, WRONG="zero"),
        ),
        Mistake(
            key="largest taken with 0",
            diagnosis="The largest is never below 0, as masked entries are "
            "0 when it is taken. A row far below 0 then has exponentials that "
            "are all 0, and 0 / 0 is NaN: read masked entries as "
            'float("-inf").',
            wrong=edited(
                softmax_kernel,
                ('float("-inf")', "0.0"),
                ("tl.exp(b_x - tl.max(b_x, 0))", _ONLY_THERE),
            ),
            also=(
                edited(
                    softmax_kernel,
                    ("tl.max(b_x, 0)", "tl.maximum(tl.max(b_x, 0), 0.0)"),
                ),
            ),
        ),
        Mistake(
            key="mask counts from row 0",
            diagnosis="Only row 0 is written. Your mask compares with width "
            "an offset that has the start of the row in it. It must count "
            "within the row: tl.arange(0, BLOCK) < width. Row i begins at "
            "i * x_row in x, at i * out_row in out.",
            wrong=edited(
                softmax_kernel, ("o_w < width", "i_r * x_row + o_w < width")
            ),
        ),
        Mistake(
            key="store without mask",
            diagnosis="The load is masked, the store is not. It writes over "
            "what lies behind the row.",
            wrong=Variant(_wrong, WRONG="store"),
        ),
        Mistake(
            key="largest not subtracted",
            diagnosis="exp of a large number overflows to inf, and inf / inf "
            "is NaN. Subtract the row's largest first, as in chapter 1.",
            wrong=Variant(_wrong, WRONG="max"),
        ),
        Mistake(
            key="stride of x",
            diagnosis="You step from row to row of x by the width, "
            "or by BLOCK. Rows lie x_row elements apart.",
            wrong=Variant(_wrong, WRONG="stride of x"),
        ),
        Mistake(
            key="stride of out",
            diagnosis="Rows of out lie out_row elements apart; you step by "
            "x_row, or by the width.",
            wrong=Variant(_wrong, WRONG="stride of out"),
            also=(Variant(_wrong, WRONG="width of out"),),
        ),
        Mistake(
            key="first row only",
            diagnosis="Every program works on row 0. Program i begins at i * "
            "x_row, and writes at i * out_row.",
            wrong=Variant(_wrong, WRONG="row"),
            also=(Variant(_wrong, WRONG="rows"),),
        ),
        Mistake(
            key="base 2",
            diagnosis="tl.exp2 takes powers of 2. Softmax takes powers of e: "
            "tl.exp.",
            wrong=Variant(_wrong, WRONG="base"),
        ),
        Mistake(
            key="not divided",
            diagnosis="The exponentials are not divided by their sum.",
            wrong=Variant(_wrong, WRONG="sum"),
        ),
    ),
    hints=(
        "As in chapter 1: subtract the largest, exponentiate, divide by the "
        "sum. What must an entry beyond the row be, so that it changes "
        "neither the largest nor the sum?",
        'Minus infinity: tl.load(pointers, mask, float("-inf")). A row '
        "begins at i * x_row. tl.max(b, 0) and tl.sum(b, 0) give a block's "
        "largest and sum.",
        'b_x = tl.load(p_x + i_r * x_row + o_w, m_w, float("-inf")).to('
        "tl.float32); b_e = tl.exp(b_x - tl.max(b_x, 0)); store b_e / "
        "tl.sum(b_e, 0) at p_out + i_r * out_row + o_w, with m_w.",
    ),
    tolerance=1e-5,
)
