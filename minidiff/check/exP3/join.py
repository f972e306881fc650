"""Problem P3.2: splits are joined, and then branches subtracted."""

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
from minidiff.check.exP3.heads import wide
from minidiff.check.kernels import draw, launch


@triton.jit
def join_kernel(
    p_part, p_lse, p_lam, p_y, part_n, part_i, part_j, part_g,
    lse_n, lse_i, lse_j, lam_n, y_n, y_g, n_split,
    DV: tl.constexpr, SPLITS: tl.constexpr,
):  # fmt: skip
    """Write o1 - lam o2 into y (N, G, DV); o_j is joined from I splits.

    part (N, I, 2, G, DV) and lse (N, I, 2, G) are what P3.1 writes, lam
    (N, G) has a number for each query. A split may be without keys: log-sum
    -inf, and zeros. At least one has keys. Log-sums may be thousands.
    Program (n, g) writes one row. SPLITS is a power of two, n_split = I or
    more.
    """
    i_n, i_g = tl.program_id(0).to(tl.int64), tl.program_id(1)
    p_part += i_n * part_n + i_g * part_g
    p_lse += i_n * lse_n + i_g
    o_i, o_v = tl.arange(0, SPLITS), tl.arange(0, DV)
    m_i = o_i < n_split
    # (SPLITS,)
    b_lse1 = tl.load(p_lse + o_i * lse_i, m_i, float("-inf"))
    b_lse2 = tl.load(p_lse + lse_j + o_i * lse_i, m_i, float("-inf"))
    b_w1 = tl.exp2(b_lse1 - tl.max(b_lse1, 0))
    b_w2 = tl.exp2(b_lse2 - tl.max(b_lse2, 0))
    b_w1 = b_w1 / tl.sum(b_w1, 0)
    b_w2 = b_w2 / tl.sum(b_w2, 0)
    # (SPLITS, DV)
    at = o_i[:, None] * part_i + o_v[None, :]
    b_part1 = tl.load(p_part + at, m_i[:, None], 0.0)
    b_part2 = tl.load(p_part + part_j + at, m_i[:, None], 0.0)
    # (DV,)
    b_o1 = tl.sum(b_w1[:, None] * b_part1, 0)
    b_o2 = tl.sum(b_w2[:, None] * b_part2, 0)
    lam = tl.load(p_lam + i_n * lam_n + i_g)
    tl.store(p_y + i_n * y_n + i_g * y_g + o_v, b_o1 - lam * b_o2)


def _run(
    answer: Any, part: Tensor, lse: Tensor, lam: Tensor
) -> tuple[np.ndarray, ...] | None:
    N, splits, _, G, Dv = part.shape
    part, lse, lam = wide(part, 4), wide(lse, 0), fenced(lam.to(DEVICE))
    y = poisoned(N, G, Dv)
    return launch(
        answer,
        (N, G),
        (
            part, lse, lam, y,
            *part.stride()[:4], *lse.stride()[:3], lam.stride(0),
            *y.stride()[:2], splits,
        ),
        (y,),
        DV=Dv, SPLITS=triton.next_power_of_2(splits),
    )  # fmt: skip


def _cases() -> list[Case]:
    cases = []
    for seed, (N, G, splits, Dv, level, empty) in enumerate(
        [
            (1, 2, 3, 16, 0, ()),
            (2, 1, 5, 32, 0, (0, 4)),
            (1, 1, 4, 16, 3000, ()),
            (1, 1, 1, 16, 0, ()),
        ]
    ):
        part = draw(seed, N, splits, 2, G, Dv)
        lse = level + 2 * draw(seed + 10, N, splits, 2, G)
        part[:, empty], lse[:, empty] = 0, -torch.inf
        name = f"N = {N}, G = {G}, {splits} splits, Dv = {Dv}"
        name += ", two splits without keys" if empty else ""
        name += ", log-sums near 3000" if level else ""
        lam = 0.8 + 0.3 * draw(seed + 20, N, G)
        cases.append(Case(name=name, args=(part, lse, lam)))
    return cases


@triton.jit
def _running(
    p_part, p_lse, p_lam, p_y, part_n, part_i, part_j, part_g,
    lse_n, lse_i, lse_j, lam_n, y_n, y_g, n_split,
    DV: tl.constexpr, SPLITS: tl.constexpr,
):  # fmt: skip
    """Split after split, from a largest log-sum of -inf: wrong."""
    i_n, i_g = tl.program_id(0).to(tl.int64), tl.program_id(1)
    p_part += i_n * part_n + i_g * part_g + tl.arange(0, DV)
    p_lse += i_n * lse_n + i_g
    b_out1 = tl.zeros([DV], tl.float32)
    b_out2 = tl.zeros([DV], tl.float32)
    top1, top2, sum1, sum2 = float("-inf"), float("-inf"), 0.0, 0.0
    for i in range(n_split):
        lse1 = tl.load(p_lse + i * lse_i)
        lse2 = tl.load(p_lse + i * lse_i + lse_j)
        new1, new2 = tl.maximum(top1, lse1), tl.maximum(top2, lse2)
        old1, old2 = tl.exp2(top1 - new1), tl.exp2(top2 - new2)
        w1, w2 = tl.exp2(lse1 - new1), tl.exp2(lse2 - new2)
        b_out1 = b_out1 * old1 + w1 * tl.load(p_part + i * part_i)
        b_out2 = b_out2 * old2 + w2 * tl.load(p_part + i * part_i + part_j)
        sum1, sum2 = sum1 * old1 + w1, sum2 * old2 + w2
        top1, top2 = new1, new2
    lam = tl.load(p_lam + i_n * lam_n + i_g)
    at_y = i_n * y_n + i_g * y_g + tl.arange(0, DV)
    tl.store(p_y + at_y, b_out1 / sum1 - lam * b_out2 / sum2)


_edited = partial(edited, join_kernel)


_LOAD1 = 'tl.load(p_lse + o_i * lse_i, m_i, float("-inf"))'
_LOAD2 = 'tl.load(p_lse + lse_j + o_i * lse_i, m_i, float("-inf"))'
_POWER1 = "tl.exp2(b_lse1 - tl.max(b_lse1, 0))"
_POWER2 = "tl.exp2(b_lse2 - tl.max(b_lse2, 0))"
_SHARE1, _SHARE2 = "b_w1 / tl.sum(b_w1, 0)", "b_w2 / tl.sum(b_w2, 0)"
_LITERAL = "tl.exp2(b_lse{0} - tl.log2(tl.sum(tl.exp2(b_lse{0}), 0)))"
_EQUAL = "tl.where(m_i, 1.0, 0.0)"
_SAME = "tl.where(m_i, 1.0 / n_split, 0.0)"

EXERCISE = Exercise(
    id="P3.2",
    cases=_cases,
    solution=join_kernel,
    run=_run,
    tolerance=1e-5,
    mistakes=(
        Mistake(
            key="mean of the splits",
            diagnosis="All splits get the same share. Split i has the share "
            "2 ** (lse_i - lse), where lse is the whole row's.",
            wrong=_edited((_SHARE1, _SAME), (_SHARE2, _SAME)),
        ),
        Mistake(
            key="splits added up",
            diagnosis="The splits' outputs are added as they are. Each one is "
            "finished, as if there were no others: weigh it by its share of "
            "the row's sum.",
            wrong=_edited((_SHARE1, _EQUAL), (_SHARE2, _EQUAL)),
        ),
        Mistake(
            key="shares do not sum to 1",
            diagnosis="2 ** (lse_i - max) is not a share yet: divide by "
            "their sum.",
            wrong=_edited((_SHARE1, "b_w1"), (_SHARE2, "b_w2")),
        ),
        Mistake(
            key="no maximum",
            diagnosis="2 ** lse overflows where a log-sum is large. Subtract "
            "the largest log-sum first; the shares stay the same.",
            wrong=_edited(
                (" - tl.max(b_lse1, 0)", ""), (" - tl.max(b_lse2, 0)", "")
            ),
            also=(
                _edited(
                    (_POWER1, _LITERAL.format(1)),
                    (_POWER2, _LITERAL.format(2)),
                    (_SHARE1, "b_w1"),
                    (_SHARE2, "b_w2"),
                ),
            ),
        ),
        Mistake(
            key="nothing minus nothing",
            diagnosis="A row may begin with a split without keys. Its log-sum "
            "is -inf, as your largest so far is, and -inf minus -inf is NaN. "
            "Begin with a finite number, far below all others.",
            wrong=_running,
        ),
        Mistake(
            key="log-sums of another query",
            diagnosis="All queries of a group take the first one's log-sums. "
            "Query g's stand g further on.",
            wrong=_edited(("lse_n + i_g", "lse_n")),
        ),
        Mistake(
            key="base e",
            diagnosis="The log-sums are in base 2. So tl.exp2, not tl.exp.",
            wrong=_edited(("tl.exp2", "tl.exp")),
        ),
        Mistake(
            key="one log-sum for both",
            diagnosis="Branch 2 is joined with the shares of branch 1: its "
            "own log-sums stand lse_j further on. (Whoever subtracts within "
            "each split, and then joins, gets the same.)",
            wrong=_edited(("p_lse + lse_j", "p_lse")),
        ),
        Mistake(
            key="part of branch 1 twice",
            diagnosis="Branch 2 reads the outputs of branch 1. Its own stand "
            "part_j further on.",
            wrong=_edited(("p_part + part_j", "p_part")),
        ),
        Mistake(
            key="shares of both branches together",
            diagnosis="The largest log-sum and the sum are taken over both "
            "branches. Each branch's shares sum to 1.",
            wrong=_edited(
                (_SHARE1, "b_w1 / (tl.sum(b_w1, 0) + tl.sum(b_w2, 0))"),
                (
                    _SHARE2,
                    "b_w2 / (tl.sum(b_w2, 0) + b_sum)",
                ),
                (
                    _POWER1,
                    "tl.exp2(b_lse1 - tl.maximum(tl.max(b_lse1, 0), "
                    "tl.max(b_lse2, 0)))",
                ),
                (
                    _POWER2,
                    "tl.exp2(b_lse2 - tl.maximum(tl.max(b_lse1, 0), "
                    "tl.max(b_lse2, 0)))\n    b_sum = tl.sum(b_w1, 0)",
                ),
            ),
        ),
        Mistake(
            key="lambda of another head",
            diagnosis="A query takes another one's lambda. lam (N, G) has one "
            "for each, query g of head n at n * lam_n + g.",
            wrong=_edited(("i_n * lam_n + i_g)", "i_n * lam_n)")),
            also=(_edited(("i_n * lam_n + i_g)", "i_g)")),),
        ),
        Mistake(
            key="lambda on both",
            diagnosis="Lambda multiplies both branches. It is o1 - lam o2.",
            wrong=_edited(("b_o1 - lam * b_o2", "lam * b_o1 - lam * b_o2")),
        ),
        Mistake(
            key="lambda dropped",
            diagnosis="The branches are subtracted without lambda.",
            wrong=_edited(("b_o1 - lam * b_o2", "b_o1 - b_o2")),
        ),
        Mistake(
            key="branches added",
            diagnosis="The branches are added. It is o1 - lam o2.",
            wrong=_edited(("b_o1 - lam * b_o2", "b_o1 + lam * b_o2")),
        ),
        Mistake(
            key="splits that do not exist",
            diagnosis="SPLITS may be more than there are splits. What does "
            "not exist has no keys: read its log-sum as -inf, so that its "
            "share is 0.",
            wrong=_edited(('float("-inf"))', "0.0)")),
            also=(_edited((', float("-inf"))', ")")),),
        ),
        Mistake(
            key="read beyond the last split",
            diagnosis="SPLITS may be more than there are splits: the loads "
            "need the mask o_i < n_split.",
            wrong=_edited(
                (', m_i, float("-inf"))', ")"), (", m_i[:, None], 0.0)", ")")
            ),
        ),
        slip(
            "shares of one branch not divided",
            "In one branch the shares do not sum to 1: 2 ** (lse_i - max) "
            "is not a share yet.",
            join_kernel,
            ("b_w1 = b_w1 / tl.sum(b_w1, 0)", "b_w1 = b_w1"),
            ("b_w2 = b_w2 / tl.sum(b_w2, 0)", "b_w2 = b_w2"),
            ("b_w1 = b_w1 / tl.sum(b_w1, 0)", "b_w1 = b_w1 * tl.sum(b_w1, 0)"),
            ("b_w2 = b_w2 / tl.sum(b_w2, 0)", "b_w2 = b_w2 * tl.sum(b_w2, 0)"),
        ),
        slip(
            "splits of one branch added up",
            "In one branch the splits' outputs are added as they are. Weigh "
            "each by its share.",
            join_kernel,
            ("b_w1[:, None] * b_part1", "b_part1"),
            ("b_w2[:, None] * b_part2", "b_part2"),
            ("b_w1[:, None] * b_part1", "b_w1[:, None] + b_part1"),
            ("b_w2[:, None] * b_part2", "b_w2[:, None] + b_part2"),
        ),
        slip(
            "one branch only",
            "One of the two branches is missing from the result.",
            join_kernel,
            ("b_o1 - lam * b_o2", "b_o1"),
            ("b_o1 - lam * b_o2", "lam * b_o2"),
        ),
        slip(
            "the other sign",
            "The result has the wrong sign. Branch 2 is taken from branch 1.",
            join_kernel,
            ("b_o1 - lam * b_o2", "lam * b_o2 - b_o1"),
            ("b_o1 - lam * b_o2", "b_o2 - lam * b_o1"),
        ),
    ),
    hints=(
        "Equation P3.1, for each branch. Which splits' log-sums does the "
        "program need, and what is the share of a split that does not exist?",
        "Load the log-sums, -inf beyond the last. b_w = tl.exp2(b_lse - "
        "tl.max(b_lse, 0)), divided by its sum, are the shares. The output is "
        "tl.sum(b_w[:, None] * b_part, 0), with b_part (SPLITS, DV).",
        "For branch 2 shift p_lse by lse_j and p_part by part_j. Then lam = "
        "tl.load(p_lam + i_n * lam_n + i_g) and tl.store(p_y + i_n * y_n + "
        "i_g * y_g + o_v, b_o1 - lam * b_o2).",
    ),
)
