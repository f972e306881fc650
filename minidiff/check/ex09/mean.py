"""Exercise 9.13: a weighted mean of rows, a puzzle."""

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

BLOCK = 8  # rows at a time; the width D as well, so that no shape is refused


@triton.jit
def mean_kernel(
    p_w, p_v, p_out, S, v_row, BLOCK: tl.constexpr, D: tl.constexpr
):
    """Write the mean of the rows of v (S, D), weighted by w (S,), to out (D,).

    That is the sum of w[s] * v[s], divided by the sum of w. One program takes
    BLOCK rows at a time.
    """
    o_d = tl.arange(0, D)
    # (D,)
    b_acc = tl.zeros([D], tl.float32)
    total = 0.0
    for start in range(0, S, BLOCK):
        o_s = start + tl.arange(0, BLOCK)
        m_s = o_s < S
        # (BLOCK,)
        b_w = tl.load(p_w + o_s, m_s, 0.0)
        # (BLOCK, D)
        at = o_s[:, None] * v_row + o_d[None, :]
        b_v = tl.load(p_v + at, m_s[:, None], 0.0)
        # (D,)
        b_acc += tl.sum(b_w[:, None] * b_v, 0)
        total += tl.sum(b_w, 0)
    tl.store(p_out + o_d, b_acc / total)


def _run(answer: Any, w: Tensor, v: Tensor) -> Any:
    w, v, out = fenced(w.to(DEVICE)), fenced(v.to(DEVICE)), poisoned(BLOCK)
    args = (w, v, out, len(w), v.stride(0))
    return launch(answer, (1,), args, [out], BLOCK=BLOCK, D=BLOCK)


def _cases() -> list[Case]:
    cases = [
        Case(
            name=f"{S} rows of 8 numbers, BLOCK = 8",
            args=(draw(S, S).exp(), draw(S + 50, S, BLOCK)),
        )
        for S in (8, 24, 5, 21)
    ]
    # Eighths, and weights that are powers of 2: exact in float16.
    v = (8 * draw(1, 6, BLOCK)).round() / 8
    w = 2.0 ** draw(2, 6).sign()
    args = w.half(), v.half()
    return [*cases, Case(name="6 rows of 8 numbers, float16", args=args)]


_edited = partial(edited, mean_kernel)
_ROWS = "b_w[:, None] * b_v"

EXERCISE = Exercise(
    id="9.13",
    cases=_cases,
    solution=mean_kernel,
    run=_run,
    tolerance=2e-6,
    mistakes=(
        Mistake(
            key="weights along the wrong axis",
            diagnosis="b_w * b_v multiplies columns of v by weights, since a "
            "block with one axis is a row. Weights belong to rows: "
            "b_w[:, None].",
            wrong=_edited((_ROWS, "b_w * b_v")),
        ),
        Mistake(
            key="sum along the other axis",
            diagnosis="tl.sum(b, 1) adds up along a row. Rows are added to "
            "each other, along axis 0.",
            wrong=_edited((f"tl.sum({_ROWS}, 0)", f"tl.sum({_ROWS}, 1)")),
        ),
        Mistake(
            key="not divided",
            diagnosis="This is the sum of w[s] * v[s]. Divide it by the sum "
            "of the weights, once, after the loop.",
            wrong=_edited(("b_acc / total)", "b_acc)")),
        ),
        Mistake(
            key="divided by the number of rows",
            diagnosis="The weights need not sum to S: divide by their own "
            "sum.",
            wrong=_edited(("b_acc / total)", "b_acc / S)")),
        ),
        Mistake(
            key="divided each time",
            diagnosis="The accumulator is divided in every step, so the first "
            "rows are divided again and again. Divide once, after the loop.",
            wrong=_edited(
                (
                    "total += tl.sum(b_w, 0)",
                    "total += tl.sum(b_w, 0)\n        b_acc = b_acc / total",
                ),
                ("b_acc / total)", "b_acc)"),
            ),
            also=(
                _edited(
                    (
                        "total += tl.sum(b_w, 0)",
                        "total += tl.sum(b_w, 0)\n"
                        "        b_acc = b_acc / total",
                    )
                ),
            ),
        ),
        Mistake(
            key="last block only",
            diagnosis="Each step writes over the one before. Add up, with "
            "+=, the rows as well as the weights.",
            wrong=_edited(
                ("b_acc += ", "b_acc = "), ("total += ", "total = ")
            ),
            also=(
                _edited(("b_acc += ", "b_acc = ")),
                _edited(("total += ", "total = ")),
            ),
        ),
        Mistake(
            key="masked entries undefined",
            diagnosis="What the masks hold back has no value. On a GPU it is "
            "anything, perhaps NaN, and 0 times NaN is NaN: load 0.0, for "
            "the rows of v too.",
            wrong=_edited((", m_s[:, None], 0.0)", ", m_s[:, None])")),
            also=(
                _edited((", m_s, 0.0)", ", m_s)")),
                _edited(
                    (", m_s[:, None], 0.0)", ", m_s[:, None])"),
                    (", m_s, 0.0)", ", m_s)"),
                ),
            ),
        ),
        Mistake(
            key="load without mask",
            diagnosis="The last block reaches beyond the last row. Both loads "
            "need a mask, m_s for w and m_s[:, None] for v.",
            wrong=_edited((", m_s[:, None], 0.0)", ")"), (", m_s, 0.0)", ")")),
            also=(
                _edited((", m_s[:, None], 0.0)", ")")),
                _edited((", m_s, 0.0)", ")")),
            ),
        ),
    ),
    hints=(
        "Two sums grow side by side: one of weights, and one of rows times "
        "weights. Which shapes have they?",
        "In each step b_acc grows by tl.sum(b_w[:, None] * b_v, 0), and total "
        "by tl.sum(b_w, 0). Masked weights and masked rows are both 0.",
        "b_w = tl.load(p_w + o_s, m_s, 0.0); b_v = tl.load(p_v + at, "
        "m_s[:, None], 0.0); the two sums; after the loop "
        "tl.store(p_out + o_d, b_acc / total).",
    ),
)
