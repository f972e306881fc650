"""Problem P3.1: one split of the keys, for both branches."""

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from minidiff.course.kernels.flash import LOG2_E, softmax_step
from minidiff.course.kernels.memory import poisoned
from minidiff.course.kernels.trace import Touch

# The interpreter must be on before Triton comes.
import triton  # isort: skip
import triton.language as tl  # isort: skip

from minidiff.check.compare import same
from minidiff.check.core import Case, Exercise, Mistake
from minidiff.check.edited import edited, slip
from minidiff.check.exP3.branch_slips import branch_slips
from minidiff.check.exP3.heads import (
    BS,
    DV,
    ROWS,
    D,
    OtherSplitError,
    heads,
    keys_read,
    wide,
)
from minidiff.check.kernels import launch


@triton.jit
def split_kernel(
    p_q, p_k, p_v, p_part, p_lse, q_n, q_j, q_g, k_n, k_j, k_s, v_n, v_s,
    part_n, part_i, part_j, part_g, lse_n, lse_i, lse_j, G, S, split, c,
    D: tl.constexpr, DV: tl.constexpr, ROWS: tl.constexpr, BS: tl.constexpr,
):  # fmt: skip
    """Both branches over one split of the keys: outputs and log-sums.

    Each of N heads of keys is shared by G queries, G <= ROWS: q (N, 2, G, D),
    k (N, 2, S, D), v (N, S, DV). To write: part (N, I, 2, G, DV), a branch's
    output over the split's keys alone, and lse (N, I, 2, G), its log-sum in
    base 2. Program (n, i) takes keys i * split to (i + 1) * split - 1 of head
    n, BS at a time; the last split may be shorter, none is empty. Scores in
    base 2 are c times q k'.
    """
    i_n, i_split = tl.program_id(0).to(tl.int64), tl.program_id(1)
    p_q += i_n * q_n
    p_k += i_n * k_n
    p_v += i_n * v_n
    p_part += i_n * part_n + i_split * part_i
    p_lse += i_n * lse_n + i_split * lse_i
    o_g, o_d, o_v = tl.arange(0, ROWS), tl.arange(0, D), tl.arange(0, DV)
    m_g = o_g < G
    # (ROWS, D)
    at_q = o_g[:, None] * q_g + o_d[None, :]
    b_q1 = tl.load(p_q + at_q, m_g[:, None], 0.0)
    b_q2 = tl.load(p_q + q_j + at_q, m_g[:, None], 0.0)
    # (ROWS, DV)
    b_acc1 = tl.zeros([ROWS, DV], tl.float32)
    b_acc2 = tl.zeros([ROWS, DV], tl.float32)
    # (ROWS,)
    b_top1 = tl.full([ROWS], float("-inf"), tl.float32)
    b_top2 = tl.full([ROWS], float("-inf"), tl.float32)
    b_sum1 = tl.zeros([ROWS], tl.float32)
    b_sum2 = tl.zeros([ROWS], tl.float32)
    start = i_split * split
    end = tl.minimum(start + split, S)
    for start_s in range(start, end, BS):
        o_s = start_s + tl.arange(0, BS)
        m_s = o_s < end
        # (BS, D)
        at_k = o_s[:, None] * k_s + o_d[None, :]
        b_k1 = tl.load(p_k + at_k, m_s[:, None], 0.0)
        b_k2 = tl.load(p_k + k_j + at_k, m_s[:, None], 0.0)
        # (BS, DV)
        at_v = o_s[:, None] * v_s + o_v[None, :]
        b_v = tl.load(p_v + at_v, m_s[:, None], 0.0)
        # (ROWS, BS)
        b_s1 = tl.dot(b_q1, b_k1.T, input_precision="ieee") * c
        b_s1 = tl.where(m_s[None, :], b_s1, float("-inf"))
        # (ROWS, DV), (ROWS,), (ROWS,)
        b_acc1, b_top1, b_sum1 = softmax_step(
            b_acc1, b_top1, b_sum1, b_s1, b_v
        )
        # (ROWS, BS)
        b_s2 = tl.dot(b_q2, b_k2.T, input_precision="ieee") * c
        b_s2 = tl.where(m_s[None, :], b_s2, float("-inf"))
        # (ROWS, DV), (ROWS,), (ROWS,)
        b_acc2, b_top2, b_sum2 = softmax_step(
            b_acc2, b_top2, b_sum2, b_s2, b_v
        )
    # (ROWS, DV)
    at = o_g[:, None] * part_g + o_v[None, :]
    tl.store(p_part + at, b_acc1 / b_sum1[:, None], m_g[:, None])
    tl.store(p_part + part_j + at, b_acc2 / b_sum2[:, None], m_g[:, None])
    tl.store(p_lse + o_g, b_top1 + tl.log2(b_sum1), m_g)
    tl.store(p_lse + lse_j + o_g, b_top2 + tl.log2(b_sum2), m_g)


def _run(
    answer: Any, q: Tensor, k: Tensor, v: Tensor, split: int
) -> tuple[np.ndarray, ...] | None:
    (N, _, G, _), S = q.shape, v.shape[1]
    right = _truth(q, k, v, split)
    q, k, v = wide(q, 0), wide(k, 4), wide(v, 2)
    splits = triton.cdiv(S, split)
    part, lse = poisoned(N, splits, 2, G, DV), poisoned(N, splits, 2, G)
    others: list[tuple[tuple[int, int], int]] = []

    def look(touch: Touch) -> None:
        keys, (n, i, _) = keys_read(touch, S), touch.program
        others.extend(((n, i), int(key)) for key in keys[keys // split != i])

    found = launch(
        answer,
        (N, splits),
        (
            q, k, v, part, lse,
            *q.stride()[:3], *k.stride()[:3], *v.stride()[:2],
            *part.stride()[:4], *lse.stride()[:3],
            G, S, split, LOG2_E / D**0.5,
        ),
        (part, lse),
        look,
        D=D, DV=DV, ROWS=ROWS, BS=BS,
    )  # fmt: skip
    if others and found is not None and same(found, right, 1e-4):
        raise OtherSplitError(*others[0])
    return found


def _truth(
    q: Tensor, k: Tensor, v: Tensor, split: int
) -> tuple[np.ndarray, ...]:
    """Each split's keys by slicing, in float64."""
    q, k, v = (x.double() for x in (q, k, v))
    parts, sums = [], []
    for first in range(0, v.shape[1], split):
        keys = slice(first, first + split)
        logits = q @ k[:, :, keys].mT / D**0.5  # (N, 2, G, keys)
        parts.append(logits.softmax(-1) @ v[:, None, keys])
        sums.append(logits.logsumexp(-1) * LOG2_E)
    return torch.stack(parts, 1).numpy(), torch.stack(sums, 1).numpy()


def _cases() -> list[Case]:
    cases = []
    for seed, (N, G, S, split, logits) in enumerate(
        [
            (1, 3, 5, 3, 2),
            (2, 1, 25, 20, 2),
            (1, 16, 32, 16, 300),
            (1, 3, 1, 16, 1e10),  # some below -1e9, of the only key
        ]
    ):
        name = f"N = {N}, G = {G}, S = {S}, splits of {split} keys"
        if logits > 100:
            name += ", large scores"
        args = *heads(seed, N, G, S, logits), split
        cases.append(Case(name=name, args=args))
    return cases


_edited = partial(edited, split_kernel)


_DONE = (
    ("b_acc1 / b_sum1[:, None]", "b_acc1"),
    ("b_acc2 / b_sum2[:, None]", "b_acc2"),
)
_FROM_0 = ("range(start, end, BS)", "range(0, end, BS)")
_AGAIN_OUT = (
    "    at = o_g[:, None] * part_g",
    "    p_part += i_n * part_n + i_split * part_i\n"
    "    p_lse += i_n * lse_n + i_split * lse_i\n"
    "    at = o_g[:, None] * part_g",
)
_AGAIN_IN = (
    "    start = i_split",
    "    p_k += i_n * k_n\n    p_v += i_n * v_n\n    start = i_split",
)
_LSE1, _LSE2 = "b_top1 + tl.log2(b_sum1)", "b_top2 + tl.log2(b_sum2)"

EXERCISE = Exercise(
    id="P3.1",
    cases=_cases,
    solution=split_kernel,
    run=_run,
    tolerance=1e-4,
    mistakes=(
        Mistake(
            key="into the next split",
            diagnosis="The last block of a split runs over into the next "
            "split, so some keys count twice. The mask of keys ends where "
            "the split ends, not only at S.",
            wrong=_edited(("o_s < end", "o_s < S")),
        ),
        Mistake(
            key="end of the keys forgotten",
            diagnosis="The last split may be shorter than the others: it "
            "ends at S, and your kernel goes on to (i + 1) * split.",
            wrong=_edited(("tl.minimum(start + split, S)", "start + split")),
        ),
        Mistake(
            key="every split takes all keys",
            diagnosis="Each program walks over all keys of its head. It "
            "takes those from i * split on, `split` of them.",
            wrong=_edited(
                ("start = i_split * split", "start = 0"),
                ("tl.minimum(start + split, S)", "S"),
            ),
        ),
        Mistake(
            key="every split begins at key 0",
            diagnosis="Every program begins at key 0. Program (n, i) begins "
            "at key i * split.",
            wrong=_edited(("start = i_split * split", "start = 0")),
            also=(_edited(("range(start, end, BS)", "range(0, end, BS)")),),
        ),
        Mistake(
            key="keys of the next split read",
            diagnosis="The values are right, but keys of the next split are "
            "read as well, and then hidden: each key is to be read once. The "
            "loads need the mask that ends where the split ends, too.",
            wrong=_edited(
                ("m_s[:, None], 0.0)", "(o_s < S)[:, None], 0.0)"),
            ),
        ),
        Mistake(
            key="from key 0 by a mask",
            diagnosis="The walk begins at key 0, and a mask hides what comes "
            "before the split. A block that is hidden whole gives -inf minus "
            "-inf, NaN. Begin the loop at the split's first key.",
            wrong=_edited(
                _FROM_0, ("o_s < end", "(o_s >= start) & (o_s < end)")
            ),
            also=(
                _edited(
                    ("range(start, end, BS)", "range(0, S, BS)"),
                    ("o_s < end", "(o_s >= start) & (o_s < end)"),
                ),
                _edited(
                    _FROM_0,
                    ("tl.where(m_s[", "tl.where((m_s & (o_s >= start))["),
                ),
            ),
        ),
        Mistake(
            key="moved twice",
            diagnosis="The first lines have moved the pointers to head n and "
            "split i already. Your kernel moves one again.",
            wrong=_edited(_AGAIN_OUT),
            also=(
                _edited(_AGAIN_IN),
                _edited(_AGAIN_IN, _AGAIN_OUT),
                _edited(
                    ("    at_q = o_g", "    p_q += i_n * q_n\n    at_q = o_g")
                ),
            ),
        ),
        Mistake(
            key="no other",
            diagnosis="Where its mask is false, a load that names no `other` "
            "gives anything, and 0 times NaN is NaN: "
            "tl.load(pointers, mask, 0.0).",
            wrong=_edited(("m_s[:, None], 0.0)", "m_s[:, None])")),
        ),
        Mistake(
            key="keys beyond the end score 0",
            diagnosis="Keys beyond the end are read as zeros, and so their "
            "score is 0, a score like others. It must be -inf.",
            wrong=_edited(
                ('tl.where(m_s[None, :], b_s1, float("-inf"))', "b_s1"),
                ('tl.where(m_s[None, :], b_s2, float("-inf"))', "b_s2"),
            ),
        ),
        Mistake(
            key="keys of branch 1 twice",
            diagnosis="Branch 2 reads the keys of branch 1. Its own begin "
            "k_j elements further on.",
            wrong=_edited(("p_k + k_j", "p_k")),
        ),
        Mistake(
            key="queries of branch 1 twice",
            diagnosis="Branch 2 reads the queries of branch 1. Its own begin "
            "q_j elements further on.",
            wrong=_edited(("p_q + q_j", "p_q")),
        ),
        Mistake(
            key="not divided",
            diagnosis="The accumulators are written as they are. A part is "
            "the output over its keys: divide by the sum.",
            wrong=_edited(*_DONE),
        ),
        Mistake(
            key="log-sum without the top",
            diagnosis="The outputs are right. The sums are relative to the "
            "top, so the log-sum is top + log2(sum).",
            wrong=_edited(
                (_LSE1, "tl.log2(b_sum1)"), (_LSE2, "tl.log2(b_sum2)")
            ),
            also=(_edited((_LSE1, "b_top1"), (_LSE2, "b_top2")),),
        ),
        Mistake(
            key="log-sum in base e",
            diagnosis="The outputs are right, the log-sums are mixed: the top "
            "is in base 2, so the sum's logarithm is log2.",
            wrong=_edited(("tl.log2", "tl.log")),
            also=(
                _edited(
                    (_LSE1, "(b_top1 + tl.log2(b_sum1)) / 1.4426950408889634"),
                    (_LSE2, "(b_top2 + tl.log2(b_sum2)) / 1.4426950408889634"),
                ),
            ),
        ),
        Mistake(
            key="scores without their scale",
            diagnosis="The scores are not multiplied by c: 1 / sqrt(D), and "
            "log2(e), since softmax_step takes powers of 2.",
            wrong=_edited(('"ieee") * c', '"ieee")')),
        ),
        Mistake(
            key="queries read beyond the last",
            diagnosis="There are G queries, and ROWS rows in a block: loads "
            "of q need the mask o_g < G.",
            wrong=_edited(("at_q, m_g[:, None], 0.0)", "at_q)")),
        ),
        Mistake(
            key="rows written beyond the last",
            diagnosis="There are G rows to write, and ROWS in a block: the "
            "stores need the mask o_g < G.",
            wrong=_edited(
                ("b_sum1[:, None], m_g[:, None])", "b_sum1[:, None])"),
                ("b_sum2[:, None], m_g[:, None])", "b_sum2[:, None])"),
                ("(b_sum1), m_g)", "(b_sum1))"),
                ("(b_sum2), m_g)", "(b_sum2))"),
            ),
            also=(
                _edited(
                    ("(b_sum1), m_g)", "(b_sum1))"),
                    ("(b_sum2), m_g)", "(b_sum2))"),
                ),
            ),
        ),
        Mistake(
            key="both written to branch 1",
            diagnosis="Branch 2 is written where branch 1 stands. Its place "
            "is part_j, and lse_j, further on.",
            wrong=_edited(("p_part + part_j", "p_part"), ("+ lse_j", "")),
        ),
        *branch_slips(split_kernel),
        slip(
            "one row for all",
            "Queries, keys or values are all read from one row: rows lie "
            "q_g, k_s or v_s apart.",
            split_kernel,
            ("o_s[:, None] * v_s + o_v", "o_s[:, None] * 0 + o_v"),
            ("o_s[:, None] * k_s + o_d", "o_s[:, None] * 0 + o_d"),
            ("o_g[:, None] * q_g + o_d", "o_g[:, None] * 0 + o_d"),
            ("o_s[:, None] * v_s + o_v", "o_s[:, None] + o_v"),
            ("o_s[:, None] * k_s + o_d", "o_s[:, None] + o_d"),
            ("o_g[:, None] * q_g + o_d", "o_g[:, None] + o_d"),
        ),
    ),
    hints=(
        "It is exercise 11.1 with rows that are heads, not tokens. Nothing is "
        "causal: the one token sees all. What is the first key of the split, "
        "and the first that is no longer in it?",
        "start = i_split * split, end = tl.minimum(start + split, S). In the "
        "loop the mask is o_s < end, and scores outside are -inf. "
        "softmax_step serves each branch with its own accumulator, top and "
        "sum.",
        "After the loop, for each branch: tl.store(p_part + at, b_acc1 / "
        "b_sum1[:, None], m_g[:, None]) and tl.store(p_lse + o_g, b_top1 + "
        "tl.log2(b_sum1), m_g), branch 2 at part_j and lse_j further on.",
    ),
)
