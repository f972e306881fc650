"""Exercise 10.2: one block of keys enters a running softmax."""

import ast
import textwrap
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

from minidiff.check.compare import source_of
from minidiff.check.core import Case, Exercise, Mistake
from minidiff.check.edited import edited
from minidiff.check.kernels import NothingWrittenError, draw, launch

BT = BS = DV = 16


@triton.jit
def step(b_acc, b_top, b_sum, b_s, b_v):
    """Take one block of keys into a running softmax; return what it holds.

    So far: b_top (BT,) the largest score of each row, b_sum (BT,) the sum of
    2 ** (score - b_top), b_acc (BT, DV) the sum of 2 ** (score - b_top) times
    value. b_s (BT, BS) are the block's scores, -inf where hidden; every row
    has a score above -inf in its first block. b_v (BS, DV) are the values,
    float32 or float16. Return b_acc, b_top, b_sum.
    """
    # (BT,)
    b_new = tl.maximum(b_top, tl.max(b_s, 1))
    b_shrink = tl.exp2(b_top - b_new)
    # (BT, BS)
    b_p = tl.exp2(b_s - b_new[:, None])
    # (BT,)
    b_sum = b_sum * b_shrink + tl.sum(b_p, 1)
    # (BT, DV)
    b_acc = b_acc * b_shrink[:, None]
    b_acc = tl.dot(b_p.to(b_v.dtype), b_v, b_acc, input_precision="ieee")
    return b_acc, b_new, b_sum


@triton.jit
def walk(
    p_s, p_v, p_acc, p_top, p_sum, s_t, v_s, acc_t, S,
    BT: tl.constexpr, BS: tl.constexpr, DV: tl.constexpr, STEP: tl.constexpr,
):  # fmt: skip
    """Take S keys, a multiple of BS, by the answer's steps."""
    o_t = tl.arange(0, BT)[:, None]
    o_s = tl.arange(0, BS)
    o_v = tl.arange(0, DV)[None, :]
    b_acc = tl.zeros([BT, DV], tl.float32)
    b_top = tl.full([BT], float("-inf"), tl.float32)
    b_sum = tl.zeros([BT], tl.float32)
    b_s = tl.load(p_s + o_t * s_t + o_s[None, :])
    b_v = tl.load(p_v + o_s[:, None] * v_s + o_v)
    first = STEP(b_acc, b_top, b_sum, b_s, b_v)
    if first is not None:  # None: a stub
        b_acc, b_top, b_sum = first
        for start_s in range(BS, S, BS):
            b_s = tl.load(p_s + o_t * s_t + start_s + o_s[None, :])
            b_v = tl.load(p_v + (start_s + o_s)[:, None] * v_s + o_v)
            b_acc, b_top, b_sum = STEP(b_acc, b_top, b_sum, b_s, b_v)
        tl.store(p_acc + o_t * acc_t + o_v, b_acc)
        tl.store(p_top + tl.arange(0, BT), b_top)
        tl.store(p_sum + tl.arange(0, BT), b_sum)


def _run(
    answer: Any, scores: Tensor, v: Tensor
) -> tuple[np.ndarray, ...] | None:
    if not isinstance(answer, triton.runtime.KernelInterface):
        raise TypeError(
            f"got a {type(answer).__name__}, expected a function with the "
            "line @triton.jit above it"
        )
    scores, v = fenced(scores.to(DEVICE)), fenced(v.to(DEVICE))
    out = [poisoned(BT, DV), poisoned(BT), poisoned(BT)]
    strides = scores.stride(0), v.stride(0), out[0].stride(0)
    try:
        return launch(
            walk,
            (1,),
            (scores, v, *out, *strides, len(v)),
            out,
            BT=BT,
            BS=BS,
            DV=DV,
            STEP=answer,
        )
    except NothingWrittenError:
        if _is_stub(answer):
            return None
        raise NothingReturnedError(
            "your function returns nothing: is a `return` missing?"
        ) from None


class NothingReturnedError(Exception):
    """A step that computes, and keeps what it found to itself."""


def _is_stub(answer: Any) -> bool:
    """Whether nothing stands below the docstring, as far as one can see."""
    try:
        (function,) = ast.parse(textwrap.dedent(source_of(answer))).body
    except OSError:  # no source
        return True
    assert isinstance(function, ast.FunctionDef)
    return all(isinstance(line, ast.Pass | ast.Expr) for line in function.body)


def _cases() -> list[Case]:
    rows = torch.arange(BT)[:, None]
    ramp = torch.arange(48.0) / 8 + draw(0, BT, 48)
    hidden = ramp.flip(1)
    hidden[torch.arange(48) > 3 * rows] = -torch.inf
    far = 3000 * (-1.0) ** rows + 9 * draw(3, BT, 32)
    return [
        Case(name=name, args=(s, draw(9, s.shape[1], DV, dtype=dtype)))
        for name, s, dtype in [
            ("one block", draw(2, BT, 16), torch.float32),
            ("the largest score last", ramp, torch.float32),
            ("the largest first, some hidden", hidden, torch.float32),
            ("scores near 3000 and -3000", far, torch.float32),
            ("values in float16", (6 * ramp).round(), torch.float16),
        ]
    ]


SHRINK = "tl.exp2(b_top - b_new)"
WEIGHTS = "tl.exp2(b_s - b_new[:, None])"
DOT = 'tl.dot(b_p.to(b_v.dtype), b_v, b_acc, input_precision="ieee")'
# Weights in float32 where the values are float16: right, and other digits.
UNCAST = ("b_p.to(b_v.dtype), b_v,", "b_p, b_v.to(tl.float32),")


_edited = partial(edited, step)


EXERCISE = Exercise(
    id="10.2",
    cases=_cases,
    solution=step,
    run=_run,
    tolerance=3e-5,
    mistakes=(
        Mistake(
            key="maximum not rescaled",
            diagnosis="b_sum and b_acc stay as they are when a row's maximum "
            "grows. What they hold is relative to the old maximum: multiply "
            "both by 2 ** (old - new).",
            wrong=_edited((SHRINK, "tl.exp2(b_new - b_new)")),
        ),
        Mistake(
            key="stale accumulator",
            diagnosis="b_sum is rescaled and b_acc is not. It holds the same "
            "weights, times values: it needs the same factor, for each row.",
            wrong=_edited(("b_acc * b_shrink[:, None]", "b_acc")),
        ),
        Mistake(
            key="sum not rescaled",
            diagnosis="b_acc is rescaled and b_sum is not. Both hold "
            "weights relative to the old maximum.",
            wrong=_edited(("b_sum * b_shrink", "b_sum")),
        ),
        Mistake(
            key="rescaled the wrong way",
            diagnosis="The factor is 2 ** (new - old). A larger maximum makes "
            "every weight smaller: 2 ** (old - new).",
            wrong=_edited((SHRINK, "tl.exp2(b_new - b_top)")),
            also=(
                _edited(
                    (
                        SHRINK,
                        'tl.where(b_top == float("-inf"), 0.0, '
                        "tl.exp2(b_new - b_top))",
                    )
                ),
            ),
        ),
        Mistake(
            key="new block rescaled too",
            diagnosis="The block's own weights are multiplied by the factor "
            "as well. They are relative to the new maximum already; only "
            "what came before needs it.",
            wrong=_edited(
                (
                    "b_sum * b_shrink + tl.sum(b_p, 1)",
                    "(b_sum + tl.sum(b_p, 1)) * b_shrink",
                ),
                ("b_acc * b_shrink[:, None]", "b_acc"),
                (DOT, f"{DOT} * b_shrink[:, None]"),
            ),
            also=(
                _edited(
                    ("b_acc * b_shrink[:, None]", "b_acc"),
                    (DOT, f"{DOT} * b_shrink[:, None]"),
                ),
            ),
        ),
        Mistake(
            key="maximum of the block",
            diagnosis="The new maximum is that of the block alone. If an "
            "earlier score was larger, the factor overflows. Compare with "
            "b_top: tl.maximum.",
            wrong=_edited(
                ("tl.maximum(b_top, tl.max(b_s, 1))", "tl.max(b_s, 1)")
            ),
        ),
        Mistake(
            key="no maximum",
            diagnosis="Weights are 2 ** score, with nothing subtracted. "
            "Float32 ends at 2 ** 128 and float16 at 2 ** 16: subtract the "
            "row's maximum first.",
            wrong=_edited(
                (SHRINK, "tl.exp2(b_new - b_new)"), (WEIGHTS, "tl.exp2(b_s)")
            ),
            also=(
                _edited(
                    (SHRINK, "tl.exp2(b_new - b_new)"),
                    (WEIGHTS, "tl.exp2(b_s)"),
                    UNCAST,
                ),
                _edited(
                    ("b_sum * b_shrink", "b_sum"),
                    ("b_acc * b_shrink[:, None]", "b_acc"),
                    (WEIGHTS, "tl.exp2(b_s)"),
                    ("return b_acc, b_new", "return b_acc, b_top"),
                ),
            ),
        ),
        Mistake(
            key="types differ",
            diagnosis="Where values are float16, tl.dot gets weights in "
            "float32 beside them, and wants one type: b.to(b_v.dtype).",
            wrong=_edited(("b_p.to(b_v.dtype)", "b_p")),
        ),
        Mistake(
            key="shortened too early",
            diagnosis="The weights are shortened to the values' type before "
            "they are summed. Sum them in float32; only tl.dot gets "
            "shortened ones.",
            wrong=_edited((WEIGHTS, f"{WEIGHTS}.to(b_v.dtype)")),
        ),
        Mistake(
            key="bases mixed",
            diagnosis="Base 2 and base e are mixed. The scores are in base 2, "
            "so weights and factor are both tl.exp2.",
            wrong=_edited((WEIGHTS, "tl.exp(b_s - b_new[:, None])")),
            also=(
                _edited((SHRINK, "tl.exp(b_top - b_new)")),
                _edited((WEIGHTS, "tl.exp(b_s - b_new[:, None])"), UNCAST),
            ),
        ),
        Mistake(
            key="base e",
            diagnosis="Weights and factor are e ** (...). The scores are in "
            "base 2: tl.exp2.",
            wrong=_edited(("tl.exp2", "tl.exp")),
            also=(_edited(("tl.exp2", "tl.exp"), UNCAST),),
        ),
        Mistake(
            key="wrong axis",
            diagnosis="You reduce over the queries. Each row has its own "
            "maximum and sum, over its keys: axis 1 of b_s (BT, BS).",
            wrong=_edited(("tl.max(b_s, 1)", "tl.max(b_s, 0)")),
            also=(
                _edited(("tl.sum(b_p, 1)", "tl.sum(b_p, 0)")),
                _edited(("tl.max(b_s, 1)", "tl.max(b_s, 0)"), UNCAST),
                _edited(
                    ("tl.max(b_s, 1)", "tl.max(b_s, 0)"),
                    ("tl.sum(b_p, 1)", "tl.sum(b_p, 0)"),
                ),
            ),
        ),
        Mistake(
            key="factor along the wrong axis",
            diagnosis="b_acc is multiplied by the factor of its column. The "
            "factor belongs to a row: b_shrink[:, None].",
            wrong=_edited(("b_acc * b_shrink[:, None]", "b_acc * b_shrink")),
            also=(
                _edited(
                    ("b_acc * b_shrink[:, None]", "b_acc * b_shrink[None, :]"),
                    ("b_s - b_new[:, None]", "b_s - b_new[None, :]"),
                ),
            ),
        ),
        Mistake(
            key="divided each time",
            diagnosis="b_acc is divided by b_sum in every step. It must stay "
            "a bare sum, so that the next block can be added; the division "
            "comes once, after the last block.",
            wrong=_edited(
                ("return b_acc, b_new", "return b_acc / b_sum[:, None], b_new")
            ),
        ),
        Mistake(
            key="old maximum returned",
            diagnosis="You return the old b_top, so every block begins anew. "
            "Return the new maximum.",
            wrong=_edited(("return b_acc, b_new", "return b_acc, b_top")),
        ),
        Mistake(
            key="old accumulator dropped",
            diagnosis="b_acc holds the last block only: the product replaces "
            "it. Add it to the rescaled b_acc.",
            wrong=_edited(
                (DOT, 'tl.dot(b_p.to(b_v.dtype), b_v, input_precision="ieee")')
            ),
        ),
        Mistake(
            key="nothing returned",
            diagnosis="A step changes no block of its caller. What it found "
            "must be returned: return b_acc, b_top, b_sum.",
            wrong=_edited(("return b_acc, b_new, b_sum", "b_top = b_new")),
        ),
        Mistake(
            key="order",
            diagnosis="b_top and b_sum have changed places. Return b_acc, "
            "b_top, b_sum.",
            wrong=_edited(("b_acc, b_new, b_sum", "b_acc, b_sum, b_new")),
        ),
    ),
    hints=(
        "Merge two parts of a row: what came before, and the block. For each "
        "row, what is the new maximum, and by what must the sums that came "
        "before be multiplied?",
        "b_new = tl.maximum(b_top, tl.max(b_s, 1)); the old sums shrink by "
        "tl.exp2(b_top - b_new); the block's weights are tl.exp2(b_s - "
        "b_new[:, None]). One number a row: [:, None] before it meets a "
        "(BT, DV) block.",
        "b_sum = b_sum * b_shrink + tl.sum(b_p, 1). For the values, "
        "tl.dot(b_p.to(b_v.dtype), b_v, b_acc * b_shrink[:, None], "
        'input_precision="ieee") adds the product to the shrunken '
        "accumulator. Return it, b_new and b_sum.",
    ),
)
