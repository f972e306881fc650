"""Exercise 11.1: both branches walk over the keys together."""

from typing import Any

import numpy as np
from torch import Tensor

from minidiff.course.kernels import DEVICE
from minidiff.course.kernels.flash import LOG2_E, softmax_step
from minidiff.course.kernels.memory import fenced, poisoned

# The interpreter must be on before Triton comes.
import triton  # isort: skip
import triton.language as tl  # isort: skip

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.check.edited import edited
from minidiff.check.kernels import draw, launch

D = 16


@triton.jit
def both_branches(
    p_q, p_k, p_v, p_acc, p_sum, q_j, q_t, k_j, k_s, v_s, acc_j, acc_t,
    sum_j, T, S, c,
    D: tl.constexpr, DV: tl.constexpr, BT: tl.constexpr, BS: tl.constexpr,
):  # fmt: skip
    """Leave two accumulators and their sums, not yet divided.

    One head: q (2, T, D), k (2, S, D), v (S, DV), T <= S; query t sees the
    keys up to t + S - T. To write: acc (2, T, DV) and sum (2, T). A stride
    ends in the axis it steps along: q_j to the next branch, q_t to the next
    query. Program i takes the queries from i BT on, for both branches. c is
    1 / sqrt(D) times log2(e).
    """
    o_t = tl.program_id(0) * BT + tl.arange(0, BT)
    o_d = tl.arange(0, D)
    o_v = tl.arange(0, DV)
    # (BT, DV)
    b_acc1 = tl.zeros([BT, DV], tl.float32)
    b_acc2 = tl.zeros([BT, DV], tl.float32)
    # (BT,)
    b_top1 = tl.full([BT], float("-inf"), tl.float32)
    b_top2 = tl.full([BT], float("-inf"), tl.float32)
    b_sum1 = tl.zeros([BT], tl.float32)
    b_sum2 = tl.zeros([BT], tl.float32)
    m_t = o_t < T
    # (BT, D)
    p_q1 = p_q + o_t[:, None] * q_t + o_d[None, :]
    b_q1 = tl.load(p_q1, m_t[:, None], 0.0)
    b_q2 = tl.load(p_q1 + q_j, m_t[:, None], 0.0)
    for start_s in range(0, S, BS):
        o_s = start_s + tl.arange(0, BS)
        m_s = (o_s < S)[:, None]
        # (BS, D)
        p_k1 = p_k + o_s[:, None] * k_s + o_d[None, :]
        b_k1 = tl.load(p_k1, m_s, 0.0)
        b_k2 = tl.load(p_k1 + k_j, m_s, 0.0)
        # (BS, DV)
        b_v = tl.load(p_v + o_s[:, None] * v_s + o_v[None, :], m_s, 0.0)
        # (BT, BS)
        m_seen = o_t[:, None] + S - T >= o_s[None, :]
        b_s1 = tl.dot(b_q1, b_k1.T, input_precision="ieee") * c
        b_s1 = tl.where(m_seen, b_s1, float("-inf"))
        # (BT, DV), (BT,), (BT,)
        b_acc1, b_top1, b_sum1 = softmax_step(
            b_acc1, b_top1, b_sum1, b_s1, b_v
        )
        # (BT, BS)
        b_s2 = tl.dot(b_q2, b_k2.T, input_precision="ieee") * c
        b_s2 = tl.where(m_seen, b_s2, float("-inf"))
        # (BT, DV), (BT,), (BT,)
        b_acc2, b_top2, b_sum2 = softmax_step(
            b_acc2, b_top2, b_sum2, b_s2, b_v
        )
    # (BT, DV)
    p_acc1 = p_acc + o_t[:, None] * acc_t + o_v[None, :]
    tl.store(p_acc1, b_acc1, m_t[:, None])
    tl.store(p_acc1 + acc_j, b_acc2, m_t[:, None])
    tl.store(p_sum + o_t, b_sum1, m_t)
    tl.store(p_sum + sum_j + o_t, b_sum2, m_t)


def _run(
    answer: Any, q: Tensor, k: Tensor, v: Tensor, BT: int, BS: int
) -> tuple[np.ndarray, np.ndarray] | None:
    """Each branch's output: its accumulator over its sum.

    So an answer may measure its exponentials from any other number.
    """
    T, (S, DV) = q.shape[1], v.shape
    q, v = (fenced(x.to(DEVICE)) for x in (q, v))
    k = fenced(k.to(DEVICE))[..., :D]  # rows further apart than q's
    acc = poisoned(2, T, DV)
    total = poisoned(2, T)
    # The fence makes strides that depend on the length, never 1.
    done = launch(
        answer,
        (triton.cdiv(T, BT),),
        (
            q, k, v, acc, total, *q.stride()[:2], *k.stride()[:2],
            v.stride(0), *acc.stride()[:2], total.stride(0), T, S,
            LOG2_E / D**0.5,
        ),
        (acc, total),
        D=D,
        DV=DV,
        BT=BT,
        BS=BS,
    )  # fmt: skip
    if done is None:
        return None
    acc1, acc2 = done[0] / done[1][:, :, None]
    return acc1, acc2


def _cases() -> list[Case]:
    cases = [
        Case(
            name=f"T = {T}, S = {S}, DV = {DV}, blocks {BT} x {BS}",
            args=(
                2 * draw(seed, 2, T, D),
                2 * draw(seed + 10, 2, S, D + 5),
                draw(seed + 20, S, DV),
                BT,
                BS,
            ),
        )
        for seed, (T, S, DV, BT, BS) in enumerate(
            [
                (1, 1, 32, 16, 16),
                (32, 32, 32, 16, 16),
                (36, 53, 32, 32, 16),
                (5, 40, 16, 16, 32),
            ]
        )
    ]
    for far in (0, 1):  # the scores of one branch are 160 less: e ** -160 = 0
        q, k = 2 * draw(4, 2, 20, D), 2 * draw(14, 2, 20, D + 5)
        q[far, :, 0], k[far, :, 0] = 32, -20
        q[far, 0, 0] = 3e9  # query 0 sees one key, and its score is -2e10
        name = f"T = S = 20, branch {far + 1} scores 160 below the other"
        cases.append(Case(name=name, args=(q, k, draw(24, 20, 32), 16, 16)))
    return cases


_STEP2 = "b_acc2, b_top2, b_sum2, b_s2"
_TO2 = "b_acc2, b_top2, b_sum2 ="
_HIDE = (', float("-inf"))', ", 0.0)")


def _hidden_by(number: str) -> tuple[str, str]:
    return _HIDE[0], f", {number})"


_SEEN = "o_t[:, None] + S - T >= o_s[None, :]"
_END = "tl.program_id(0) * BT"
# One maximum for both: what was measured from its own is moved there.
_AFTER = "    p_acc1 = p_acc"
_COMMON = """\
        b_top = tl.maximum(b_top1, b_top2)
        b_acc1 = b_acc1 * tl.exp2(b_top1 - b_top)[:, None]
        b_sum1 = b_sum1 * tl.exp2(b_top1 - b_top)
        b_acc2 = b_acc2 * tl.exp2(b_top2 - b_top)[:, None]
        b_sum2 = b_sum2 * tl.exp2(b_top2 - b_top)
        b_top1, b_top2 = b_top, b_top
"""
# Our walk goes to the last key; most will end where nothing is seen.
_SHORT = edited(
    both_branches,
    ("range(0, S, BS)", f"range(0, tl.minimum(S, {_END} + BT + S - T), BS)"),
)

EXERCISE = Exercise(
    id="11.1",
    cases=_cases,
    solution=both_branches,
    run=_run,
    tolerance=1e-4,
    mistakes=(
        Mistake(
            key="one accumulator",
            diagnosis="Both branches add to one accumulator, and each "
            "rescales what the other left. They need one each.",
            wrong=edited(
                both_branches,
                ("b_acc1, b_top1, b_sum1 =", "b_acc2, b_top1, b_sum1 ="),
                (
                    "b_acc1, b_top1, b_sum1, b_s1",
                    "b_acc2, b_top1, b_sum1, b_s1",
                ),
                ("tl.store(p_acc1, b_acc1", "tl.store(p_acc1, b_acc2"),
            ),
            also=(
                edited(
                    both_branches,
                    (_STEP2, "b_acc1, b_top2, b_sum2, b_s2"),
                    (_TO2, "b_acc1, b_top2, b_sum2 ="),
                ),
            ),
        ),
        Mistake(
            key="one running state",
            diagnosis="Branch 2 takes its step with branch 1's top, sum or "
            "both. Each branch has a maximum and a sum of its own.",
            wrong=edited(
                both_branches,
                (_STEP2, "b_acc2, b_top1, b_sum1, b_s2"),
                (_TO2, "b_acc2, b_top1, b_sum1 ="),
                ("o_t, b_sum2", "o_t, b_sum1"),
            ),
            also=(
                edited(
                    both_branches, (_STEP2, "b_acc2, b_top1, b_sum2, b_s2")
                ),
                edited(
                    both_branches, (_STEP2, "b_acc2, b_top2, b_sum1, b_s2")
                ),
                edited(
                    both_branches,
                    (_STEP2, "b_acc2, b_top1, b_sum2, b_s2"),
                    (_TO2, "b_acc2, b_top1, b_sum2 ="),
                ),
                edited(
                    both_branches,
                    (_STEP2, "b_acc2, b_top2, b_sum1, b_s2"),
                    (_TO2, "b_acc2, b_top2, b_sum1 ="),
                    ("o_t, b_sum2", "o_t, b_sum1"),
                ),
            ),
        ),
        Mistake(
            key="common maximum",
            diagnosis="Both branches subtract one common maximum. Where one "
            "branch lies far below the other, all of its powers of 2 "
            "underflow: sum and accumulator are 0, and 0 / 0 is NaN. Each "
            "branch subtracts its own maximum.",
            wrong=edited(both_branches, (_AFTER, _COMMON + _AFTER)),
        ),
        Mistake(
            key="keys of branch 1 twice",
            diagnosis="Branch 2 reads the keys of branch 1. Its own begin "
            "k_j elements further on.",
            wrong=edited(both_branches, ("p_k1 + k_j", "p_k1")),
        ),
        Mistake(
            key="queries of branch 1 twice",
            diagnosis="Branch 2 reads the queries of branch 1. Its own begin "
            "q_j elements further on.",
            wrong=edited(both_branches, ("p_q1 + q_j", "p_q1")),
        ),
        Mistake(
            key="aligned to the start",
            diagnosis="Your mask lets query t see keys up to t. With more "
            "keys than queries the last query sees them all: t + S - T.",
            wrong=edited(both_branches, ("+ S - T >= o_s", ">= o_s")),
        ),
        Mistake(
            key="diagonal hidden",
            diagnosis="A query does not see its own key: the mask is off by "
            "one. It is >=, not >.",
            wrong=edited(both_branches, ("- T >= o_s", "- T > o_s")),
        ),
        Mistake(
            key="mask without an axis",
            diagnosis="Your mask compares query t with key t only, or has "
            "shapes that do not fit. It is a block (BT, BS): queries go down, "
            "o_t[:, None], keys go across, o_s[None, :].",
            wrong=edited(both_branches, ("o_t[:, None] + S", "o_t + S")),
        ),
        Mistake(
            key="no mask of what is seen",
            diagnosis="Every query sees every key, the later ones too: hidden "
            "scores must be -inf.",
            wrong=edited(both_branches, (_SEEN, "(o_s < S)[None, :]")),
            also=(
                edited(both_branches, (_SEEN, "o_s[None, :] >= 0")),
                edited(_SHORT, (_SEEN, "o_s[None, :] >= 0")),
                edited(_SHORT, (_SEEN, "(o_s < S)[None, :]")),
            ),
        ),
        Mistake(
            key="hidden scores are 0",
            diagnosis="A hidden score of 0 is a score like others, of weight "
            "2 ** 0. Hidden scores must be -inf.",
            wrong=edited(both_branches, _HIDE),
            also=(edited(_SHORT, _HIDE),),
        ),
        Mistake(
            key="hidden by a number",
            diagnosis="Hidden scores are set to a large negative number. A "
            "query whose visible scores are as low would look at hidden "
            "keys: put -inf there.",
            wrong=edited(both_branches, _hidden_by("-1e4")),
            also=(
                edited(_SHORT, _hidden_by("-1e4")),
                edited(both_branches, _hidden_by("-1e9")),
                edited(_SHORT, _hidden_by("-1e9")),
            ),
        ),
        Mistake(
            key="scores without their scale",
            diagnosis="The scores are not multiplied by c: 1 / sqrt(D), and "
            "log2(e), since softmax_step takes powers of 2.",
            wrong=edited(both_branches, ('"ieee") * c', '"ieee")')),
        ),
        Mistake(
            key="starts again at each block",
            diagnosis="Only the last block of keys counts: accumulators, "
            "tops and sums start once, before the loop.",
            wrong=edited(
                both_branches,
                (
                    "        m_s = ",
                    "        b_acc1, b_acc2 = b_acc1 * 0, b_acc2 * 0\n"
                    "        b_sum1, b_sum2 = b_sum1 * 0, b_sum2 * 0\n"
                    '        b_top1 = tl.full([BT], float("-inf"), '
                    "tl.float32)\n"
                    "        b_top2 = b_top1\n"
                    "        m_s = ",
                ),
            ),
        ),
        Mistake(
            key="loop ends at the diagonal",
            diagnosis="The block on the diagonal is left out. The last key "
            "that this program sees is its last query's.",
            wrong=edited(
                both_branches,
                ("range(0, S, BS)", f"range(0, {_END}, BS)"),
            ),
        ),
        Mistake(
            key="loop ends too early",
            diagnosis="Some keys are never visited. The last query of "
            "program i sees the keys up to (i + 1) BT - 1 + S - T.",
            wrong=edited(_SHORT, ("BT + BT + S - T)", "BT + BT)")),
            also=(
                edited(_SHORT, ("BT + BT + S - T)", "BT + S - T + 1)")),
                edited(_SHORT, ("BT + BT + S - T)", "BT + BT + S - T - 1)")),
            ),
        ),
        Mistake(
            key="steps of BT",
            diagnosis="The walk over the keys goes in steps of BT. A block "
            "of keys has BS.",
            wrong=edited(
                both_branches, ("range(0, S, BS)", "range(0, S, BT)")
            ),
            also=(edited(_SHORT, ("T), BS)", "T), BT)")),),
        ),
        Mistake(
            key="no other for the values",
            diagnosis="Values beyond the last key are loaded without a third "
            "argument, so they may be anything, NaN too. Their weight is 0, "
            "but 0 times NaN is NaN: give 0.0.",
            wrong=edited(
                both_branches,
                ("o_v[None, :], m_s, 0.0)", "o_v[None, :], m_s)"),
            ),
        ),
        Mistake(
            key="queries read beyond the end",
            diagnosis="The last program reads queries beyond row T - 1: their "
            "loads need the mask o_t < T.",
            wrong=edited(both_branches, (", m_t[:, None], 0.0)", ")")),
        ),
        Mistake(
            key="keys read beyond the end",
            diagnosis="The last block of keys or values is read beyond row "
            "S - 1: the loads in the loop need a mask of rows.",
            wrong=edited(both_branches, (", m_s, 0.0)", ")")),
            also=(
                edited(
                    both_branches, ("o_v[None, :], m_s, 0.0)", "o_v[None, :])")
                ),
            ),
        ),
        Mistake(
            key="rows written beyond the end",
            diagnosis="The last program writes beyond row T - 1: the stores "
            "need the mask o_t < T.",
            wrong=edited(
                both_branches,
                ("b_acc1, m_t[:, None]", "b_acc1"),
                ("b_acc2, m_t[:, None]", "b_acc2"),
                ("b_sum1, m_t", "b_sum1"),
                ("b_sum2, m_t", "b_sum2"),
            ),
            also=(
                edited(
                    both_branches,
                    ("b_sum1, m_t", "b_sum1"),
                    ("b_sum2, m_t", "b_sum2"),
                ),
            ),
        ),
        Mistake(
            key="stride of another tensor",
            diagnosis="Keys are read with a row stride that is not theirs. "
            "Each tensor has its own, which need not be D; k's is k_s.",
            wrong=edited(both_branches, ("* k_s", "* q_t")),
        ),
        Mistake(
            key="both written to branch 1",
            diagnosis="Branch 2 is written where branch 1 stands. Its place "
            "is acc_j, and sum_j, further on.",
            wrong=edited(
                both_branches,
                ("p_acc1 + acc_j", "p_acc1"),
                ("p_sum + sum_j + o_t", "p_sum + o_t"),
            ),
        ),
        Mistake(
            key="written as if contiguous",
            diagnosis="You take an output's rows or branches to lie right "
            "behind each other. It may be a part of a larger tensor: its "
            "strides are acc_j, acc_t and sum_j.",
            wrong=edited(both_branches, ("* acc_t", "* DV")),
            also=(
                edited(both_branches, ("sum_j + o_t", "T + o_t")),
                edited(
                    both_branches, ("p_acc1 + acc_j", "p_acc1 + T * acc_t")
                ),
            ),
        ),
        Mistake(
            key="branch 2 not written",
            diagnosis="Branch 2's accumulator or its sum is never written. "
            "Both outputs have two branches.",
            wrong=edited(
                both_branches,
                ("tl.store(p_acc1 + acc_j, b_acc2, m_t[:, None])", ""),
                ("tl.store(p_sum + sum_j + o_t, b_sum2, m_t)", ""),
            ),
        ),
        Mistake(
            key="sums not written",
            diagnosis="p_acc or p_sum is never written. The epilogue needs "
            "both, for both branches.",
            wrong=edited(
                both_branches,
                ("tl.store(p_sum + o_t, b_sum1, m_t)", ""),
                ("tl.store(p_sum + sum_j + o_t, b_sum2, m_t)", ""),
            ),
        ),
        Mistake(
            key="branch 1 written twice",
            diagnosis="What you write for branch 2 is branch 1's accumulator "
            "or sum.",
            wrong=edited(both_branches, ("acc_j, b_acc2", "acc_j, b_acc1")),
            also=(
                edited(both_branches, ("o_t, b_sum2", "o_t, b_sum1")),
                edited(
                    both_branches,
                    ("acc_j, b_acc2", "acc_j, b_acc1"),
                    ("o_t, b_sum2", "o_t, b_sum1"),
                ),
            ),
        ),
        Mistake(
            key="log-sums for sums",
            diagnosis="You write chapter 10's log-sums into p_sum. To divide "
            "by, the sums themselves are wanted.",
            wrong=edited(
                both_branches,
                ("o_t, b_sum1", "o_t, b_top1 + tl.log2(b_sum1)"),
                ("o_t, b_sum2", "o_t, b_top2 + tl.log2(b_sum2)"),
            ),
        ),
        Mistake(
            key="divided already",
            diagnosis="You divide by the sums here. The accumulators are "
            "left as they are; the epilogue will divide.",
            wrong=edited(
                both_branches,
                ("p_acc1, b_acc1", "p_acc1, b_acc1 / b_sum1[:, None]"),
                ("acc_j, b_acc2", "acc_j, b_acc2 / b_sum2[:, None]"),
            ),
            also=(
                edited(
                    _SHORT,
                    (
                        "        b_s2 = tl.dot",
                        "        b_acc1 = b_acc1 / b_sum1[:, None]\n"
                        "        b_s2 = tl.dot",
                    ),
                    (
                        "    p_acc1 = ",
                        "        b_acc2 = b_acc2 / b_sum2[:, None]\n"
                        "    p_acc1 = ",
                    ),
                ),
            ),
        ),
    ),
    hints=(
        "It is chapter 10's loop with everything doubled but two things. "
        "Which two are the same for both branches?",
        "The values and the mask. Load the queries of both branches once; "
        "in the loop load the keys of both, the values once, and call "
        "softmax_step for each branch with its own accumulator, top and sum.",
        "Branch 2's queries are tl.load(p_q1 + q_j, ...), where p_q1 are "
        "the pointers of branch 1; keys, accumulators and sums likewise. "
        "b_s1 = tl.dot(b_q1, b_k1.T, input_precision='ieee') * c, then "
        "tl.where(m_seen, b_s1, float('-inf')), where m_seen is "
        "o_t[:, None] + S - T >= o_s[None, :].",
    ),
)
