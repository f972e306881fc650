"""Exercise 10.1: the log-sum of a row that is longer than a block."""

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from minidiff.course.kernels import DEVICE
from minidiff.course.kernels.memory import fenced, poisoned

# The interpreter must be on before Triton comes.
import triton  # isort: skip
import triton.language as tl  # isort: skip

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.check.edited import edited, slip
from minidiff.check.kernels import draw, launch

BS = 16


@triton.jit
def log_sum_kernel(p_x, p_out, stride, S, BS: tl.constexpr):
    """Write log2 of the sum of 2 ** x over each row of x (T, S) to out (T,).

    Program i takes row i. Rows begin `stride` apart, and the S numbers of a
    row lie side by side; take BS of them at a time. They may be thousands.
    """
    i_t = tl.program_id(0)
    top, total = float("-inf"), 0.0
    for start_s in range(0, S, BS):
        o_s = start_s + tl.arange(0, BS)
        # (BS,)
        b_x = tl.load(p_x + i_t * stride + o_s, o_s < S, float("-inf"))
        new = tl.maximum(top, tl.max(b_x, 0))
        total = total * tl.exp2(top - new) + tl.sum(tl.exp2(b_x - new), 0)
        top = new
    tl.store(p_out + i_t, top + tl.log2(total))


def _run(answer: Any, x: Tensor) -> tuple[np.ndarray, ...] | None:
    T, S = x.shape
    x, out = fenced(x.to(DEVICE)), poisoned(T)
    return launch(answer, (T,), (x, out, x.stride(0), S), [out], BS=BS)


def _cases() -> list[Case]:
    climbing = torch.arange(40.0)[None] + draw(0, 1, 40)
    far = torch.tensor([[3000.0], [-30000.0], [-3e9]])
    falling = draw(5, 1, 32) + 300 * (torch.arange(32) < BS)
    return [
        Case(name=name, args=(x,))
        for name, x in {
            "one row of 1 number": torch.full((1, 1), 3.0),
            "one row of 21 numbers": draw(1, 1, 21),
            "two rows of 32 numbers": draw(2, 2, 32),
            "the largest last": climbing,
            "the largest first": climbing.flip(1),
            "rows near 3000, -30000 and -3e9": 9 * draw(4, 3, 33) + far,
            "a block 300 below the one before": falling,
        }.items()
    ]


OLD = "total * tl.exp2(top - new)"
TERMS = "tl.sum(tl.exp2(b_x - new), 0)"
NEW = "tl.maximum(top, tl.max(b_x, 0))"
END = "top + tl.log2(total)"


_edited = partial(edited, log_sum_kernel)


EXERCISE = Exercise(
    id="10.1",
    cases=_cases,
    solution=log_sum_kernel,
    run=_run,
    tolerance=2e-6,
    mistakes=(
        Mistake(
            key="sum not rescaled",
            diagnosis="The old sum stays as it is when the maximum grows. "
            "Its terms were 2 ** (x - old maximum): multiply by "
            "2 ** (old - new).",
            wrong=_edited((OLD, "total")),
        ),
        Mistake(
            key="rescaled the wrong way",
            diagnosis="The old sum is multiplied by 2 ** (new - old). A "
            "larger maximum makes each term smaller: 2 ** (old - new), never "
            "above 1.",
            wrong=_edited((OLD, "total * tl.exp2(new - top)")),
            also=(
                _edited(
                    (OLD, "total * tl.exp2(new - top)"),
                    ('total = float("-inf"), 0.0', "total = -1e6, 0.0"),
                ),
            ),
        ),
        Mistake(
            key="new terms rescaled too",
            diagnosis="The block's own terms are multiplied by the factor as "
            "well. They are relative to the new maximum already.",
            wrong=_edited(
                (
                    f"{OLD} + {TERMS}",
                    f"(total + {TERMS}) * tl.exp2(top - new)",
                )
            ),
        ),
        Mistake(
            key="own maximum of each block",
            diagnosis="Each block's terms are relative to that block's own "
            "maximum. Sums can only be added when all terms are relative to "
            "one maximum.",
            wrong=_edited(
                (OLD, "total"), ("b_x - new", "b_x - tl.max(b_x, 0)")
            ),
            also=(_edited(("b_x - new", "b_x - tl.max(b_x, 0)")),),
        ),
        Mistake(
            key="maximum of the block",
            diagnosis="The new maximum is that of the block alone. If an "
            "earlier number was larger, the factor overflows. Compare with "
            "the maximum so far: tl.maximum.",
            wrong=_edited((NEW, "tl.max(b_x, 0)")),
        ),
        Mistake(
            key="no maximum",
            diagnosis="2 ** x is summed with nothing subtracted. Float32 "
            "ends at 2 ** 128: numbers near 3000 overflow, numbers near "
            "-3000 all become 0.",
            wrong=_edited(
                (OLD, "total"), ("b_x - new", "b_x"), (END, "tl.log2(total)")
            ),
            also=(
                _edited(
                    (OLD, "total"),
                    ("b_x - new", "b_x"),
                    (END, "top + tl.log2(total * tl.exp2(-top))"),
                ),
            ),
        ),
        Mistake(
            key="starts at zero",
            diagnosis="The maximum so far starts at 0, so a row near -3000 "
            'never gets its own. Start below every number: float("-inf").',
            wrong=_edited(('float("-inf"), 0.0', "0.0, 0.0")),
        ),
        Mistake(
            key="bases mixed",
            diagnosis="Base 2 and base e are mixed: exp2 belongs with log2, "
            "exp with log. Terms, factor and logarithm must all be in base 2.",
            wrong=_edited((TERMS, "tl.sum(tl.exp(b_x - new), 0)")),
            also=(
                _edited(("tl.exp2", "tl.exp")),
                _edited((OLD, "total * tl.exp(top - new)")),
                _edited(("tl.log2", "tl.log")),
            ),
        ),
        Mistake(
            key="base e throughout",
            diagnosis="This is ln of the sum of e ** x. The question was "
            "log2 of the sum of 2 ** x: tl.exp2 and tl.log2.",
            wrong=_edited(("tl.exp2", "tl.exp"), ("tl.log2", "tl.log")),
        ),
        Mistake(
            key="no mask",
            diagnosis="The last block reads beyond the end of its row. Load "
            "with the mask o_s < S.",
            wrong=_edited((', o_s < S, float("-inf")', "")),
        ),
        Mistake(
            key="mask of the first block",
            diagnosis="The mask compares places inside the block with S. "
            "What must be below S is the place in the row: "
            "start_s + tl.arange(0, BS).",
            wrong=_edited(("o_s < S", "tl.arange(0, BS) < S")),
        ),
        Mistake(
            key="padding undefined",
            diagnosis="tl.load has a mask, but no value for what the mask "
            "holds back: on a GPU that is whatever lay in the register, here "
            'NaN. Give float("-inf"): its term is 0.',
            wrong=_edited((', float("-inf"))', ")")),
        ),
        Mistake(
            key="padding counted",
            diagnosis="What the mask holds back enters the sum as if it were "
            'a number 0. It must add nothing: load float("-inf") there.',
            wrong=_edited((', float("-inf"))', ", 0.0)")),
        ),
        Mistake(
            key="wrong stride",
            diagnosis="Row i is looked for at i * S. Rows may lie further "
            "apart: it begins at i * stride.",
            wrong=_edited(("i_t * stride", "i_t * S")),
        ),
        Mistake(
            key="same row for all",
            diagnosis="Every program reads row 0. Program i takes row i, "
            "which begins i * stride after the first.",
            wrong=_edited(("i_t * stride + ", "")),
        ),
        Mistake(
            key="first block only",
            diagnosis="Only the first block enters. A row may be longer: "
            "loop over blocks of BS.",
            wrong=_edited(("range(0, S, BS)", "range(0, BS, BS)")),
        ),
        Mistake(
            key="maximum not added",
            diagnosis="You write log2 of the sum of 2 ** (x - maximum). Add "
            "the maximum again: top + log2(total).",
            wrong=_edited((END, "tl.log2(total)")),
        ),
        Mistake(
            key="logarithm forgotten",
            diagnosis="You write the sum itself. The sum of 2 ** x is "
            "2 ** top * total; write its logarithm, top + log2(total).",
            wrong=_edited((END, "total")),
            also=(
                _edited((END, "top + total")),
                _edited((END, "tl.exp2(top) * total")),
            ),
        ),
        slip(
            "the same block in every round",
            "Every round reads the first block. A round begins at start_s.",
            log_sum_kernel,
            ("start_s + tl.arange(0, BS)\n", "tl.arange(0, BS)\n"),
        ),
        slip(
            "earlier blocks dropped",
            "The sum of the earlier blocks is lost, or only added: rescale "
            "it and add the block's own.",
            log_sum_kernel,
            ("total * tl.exp2(top - new) +", ""),
            ("total * tl.exp2(top - new) +", "tl.exp2(top - new) +"),
            ("total * tl.exp2(top - new) +", "total + tl.exp2(top - new) +"),
        ),
        slip(
            "maximum alone",
            "You write the maximum without the sum, or take the sum's "
            "logarithm away: 2 ** top * total has the logarithm of both.",
            log_sum_kernel,
            ("top + tl.log2(total)", "top"),
            ("top + tl.log2(total)", "top - tl.log2(total)"),
        ),
        slip(
            "padding far below",
            "Padding is loaded as a large negative number. A row may lie "
            'below it: load float("-inf"), which adds nothing to any sum.',
            log_sum_kernel,
            ('o_s < S, float("-inf"))', "o_s < S, -1e4)"),
            ('o_s < S, float("-inf"))', "o_s < S, -1e9)"),
            ('o_s < S, float("-inf"))', "o_s < S, -1e3)"),
        ),
    ),
    hints=(
        "Two numbers are all that a program keeps: the largest so far, and "
        "the sum of 2 ** (x - largest). What must happen to the sum when a "
        "block brings a new largest?",
        'Start with top, total = float("-inf"), 0.0. For each block: new = '
        "tl.maximum(top, tl.max(b_x, 0)), and the old sum shrinks by "
        "tl.exp2(top - new). What lies beyond the row should be -inf.",
        "Load tl.load(p_x + i_t * stride + o_s, o_s < S, float('-inf')), "
        "add tl.sum(tl.exp2(b_x - new), 0), set top = new; at the end store "
        "top + tl.log2(total).",
    ),
)
