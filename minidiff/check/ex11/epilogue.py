"""Exercise 11.3: divide, subtract and normalise, in one program."""

from typing import Any

import numpy as np
from torch import Tensor

from minidiff.course.kernels import DEVICE
from minidiff.course.kernels.memory import fenced, poisoned

# The interpreter must be on before Triton comes.
import triton  # isort: skip
import triton.language as tl  # isort: skip

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.check.edited import edited
from minidiff.check.kernels import draw, launch

BT = 16


@triton.jit
def epilogue(
    p_acc, p_sum, p_weight, p_y, acc_j, acc_t, sum_j, y_t, T, lam,
    norm_scale, eps, DV: tl.constexpr, BT: tl.constexpr,
):  # fmt: skip
    """Write y = norm_scale * weight * RMSNorm(o1 - lam o2), (T, DV).

    o_j is branch j's accumulator over its sums: acc (2, T, DV), sum (2, T).
    weight (DV,); RMSNorm(o) = o / sqrt(mean(o * o) + eps), over a row.
    Program i takes the rows from i BT on.
    """
    o_t = tl.program_id(0) * BT + tl.arange(0, BT)
    o_v = tl.arange(0, DV)
    m_t = o_t < T
    # (BT, DV)
    p_acc1 = p_acc + o_t[:, None] * acc_t + o_v[None, :]
    b_acc1 = tl.load(p_acc1, m_t[:, None], 0.0)
    b_acc2 = tl.load(p_acc1 + acc_j, m_t[:, None], 0.0)
    # (BT,)
    b_sum1 = tl.load(p_sum + o_t, m_t, 1.0)
    b_sum2 = tl.load(p_sum + sum_j + o_t, m_t, 1.0)
    # (BT, DV)
    b_o2 = b_acc2 / b_sum2[:, None]
    b_o = b_acc1 / b_sum1[:, None] - lam * b_o2
    # (BT,)
    b_mean = tl.sum(b_o * b_o, 1) / DV
    # (BT, 1)
    b_r = tl.rsqrt(b_mean + eps)[:, None]
    # (1, DV)
    b_w = tl.load(p_weight + o_v)[None, :]
    # (BT, DV)
    p_row = p_y + o_t[:, None] * y_t + o_v[None, :]
    tl.store(p_row, norm_scale * b_w * b_r * b_o, m_t[:, None])


def _run(
    answer: Any,
    acc: Tensor,
    total: Tensor,
    weight: Tensor,
    lam: float,
    norm_scale: float,
    eps: float,
) -> tuple[np.ndarray, ...] | None:
    T, DV = acc.shape[1], len(weight)
    acc, total, weight = (fenced(x.to(DEVICE)) for x in (acc, total, weight))
    acc = acc[..., :-3]  # rows further apart than y's
    y = poisoned(T, DV)
    return launch(
        answer,
        (triton.cdiv(T, BT),),
        (
            acc, total, weight, y, *acc.stride()[:2], total.stride(0),
            y.stride(0), T, lam, norm_scale, eps,
        ),
        (y,),
        DV=DV,
        BT=BT,
    )  # fmt: skip


def _cases() -> list[Case]:
    cases = []
    for seed, (T, DV, lam, eps) in enumerate(
        [(1, 8, 0.5, 1e-5), (16, 32, 0.8, 0.5), (33, 16, -0.3, 1e-5)]
    ):
        total = 1 + 3 * draw(seed, 2, T).abs()
        acc = 2 * draw(seed + 10, 2, T, DV + 3)
        weight = 1 + draw(seed + 20, DV) / 4
        name = f"T = {T}, Dv = {DV}, lam = {lam}, eps = {eps}"
        args = (acc, total, weight, lam, 0.4, eps)
        cases.append(Case(name=name, args=args))
    return cases


_DIFFERENCE = "b_acc1 / b_sum1[:, None] - lam * b_o2"

EXERCISE = Exercise(
    id="11.3",
    cases=_cases,
    solution=epilogue,
    run=_run,
    tolerance=1e-4,
    mistakes=(
        Mistake(
            key="sums not used",
            diagnosis="You subtract the accumulators before dividing each by "
            "its own sums. The norm hides a factor that both share, not two "
            "different ones.",
            wrong=edited(epilogue, (_DIFFERENCE, "b_acc1 - lam * b_acc2")),
        ),
        Mistake(
            key="one sum for both",
            diagnosis="Both accumulators are divided by the sums of one "
            "branch. Each has its own.",
            wrong=edited(epilogue, ("acc2 / b_sum2", "acc2 / b_sum1")),
            also=(edited(epilogue, ("acc1 / b_sum1", "acc1 / b_sum2")),),
        ),
        Mistake(
            key="lambda on both",
            diagnosis="lambda multiplies both branches, and the norm takes "
            "a common factor out again: o1 - o2 is left. It belongs to branch "
            "2 alone.",
            wrong=edited(
                epilogue,
                (_DIFFERENCE, "lam * (b_acc1 / b_sum1[:, None] - b_o2)"),
            ),
        ),
        Mistake(
            key="lambda dropped",
            diagnosis="lambda is not used: this is o1 - o2.",
            wrong=edited(epilogue, ("- lam * b_o2", "- b_o2")),
        ),
        Mistake(
            key="branches swapped",
            diagnosis="lambda multiplies branch 1. The output is o1 - lam o2: "
            "branch 2 is scaled, then taken from branch 1.",
            wrong=edited(
                epilogue,
                (_DIFFERENCE, "b_o2 - lam * (b_acc1 / b_sum1[:, None])"),
            ),
            also=(
                edited(
                    epilogue,
                    (_DIFFERENCE, "lam * (b_acc1 / b_sum1[:, None]) - b_o2"),
                ),
            ),
        ),
        Mistake(
            key="branches added",
            diagnosis="You add the branches. It is o1 minus lam o2.",
            wrong=edited(epilogue, ("- lam * b_o2", "+ lam * b_o2")),
        ),
        Mistake(
            key="sum, not mean",
            diagnosis="You take the sum of the squares. RMSNorm takes their "
            "mean: divide by DV.",
            wrong=edited(epilogue, ("b_o * b_o, 1) / DV", "b_o * b_o, 1)")),
        ),
        Mistake(
            key="mean over the queries",
            diagnosis="Your mean runs over the queries of the block. It "
            "belongs to one row, over its DV entries: axis 1.",
            wrong=edited(
                epilogue,
                ("b_o * b_o, 1) / DV", "b_o * b_o, 0) / BT"),
                ("b_mean + eps)[:, None]", "b_mean + eps)[None, :]"),
            ),
            also=(
                edited(
                    epilogue,
                    ("b_o * b_o, 1)", "b_o * b_o, 0)"),
                    ("b_mean + eps)[:, None]", "b_mean + eps)[None, :]"),
                ),
            ),
        ),
        Mistake(
            key="norm of each branch",
            diagnosis="You normalise each branch before you subtract. There "
            "is one norm, of the difference.",
            wrong=edited(
                epilogue,
                (
                    "b_o = b_acc1 / b_sum1[:, None] - lam * b_o2",
                    "b_o = b_acc1 / b_sum1[:, None]\n"
                    "    b_r2 = tl.rsqrt(tl.sum(b_o2 * b_o2, 1) / DV + eps)",
                ),
                (
                    "b_w * b_r * b_o",
                    "b_w * (b_r * b_o - lam * b_r2[:, None] * b_o2)",
                ),
            ),
        ),
        Mistake(
            key="no norm",
            diagnosis="Nothing is normalised: the rows are not divided by the "
            "root of their mean square.",
            wrong=edited(epilogue, ("b_w * b_r * b_o", "b_w * b_o")),
        ),
        Mistake(
            key="accumulator of branch 1 twice",
            diagnosis="Branch 2 reads branch 1's accumulator. Its own begins "
            "acc_j elements further on.",
            wrong=edited(epilogue, ("p_acc1 + acc_j", "p_acc1")),
        ),
        Mistake(
            key="stride of another tensor",
            diagnosis="Rows of y are written with a stride that is not "
            "theirs. Each tensor has its own; y's is y_t.",
            wrong=edited(epilogue, ("* y_t", "* acc_t")),
            also=(edited(epilogue, ("* y_t", "* DV")),),
        ),
        Mistake(
            key="no root",
            diagnosis="You divide by the mean square. RMSNorm divides by its "
            "root: tl.rsqrt.",
            wrong=edited(
                epilogue, ("tl.rsqrt(b_mean + eps)", "(1 / (b_mean + eps))")
            ),
        ),
        Mistake(
            key="eps outside the root",
            diagnosis="eps is added to the root. It belongs under it.",
            wrong=edited(
                epilogue,
                ("tl.rsqrt(b_mean + eps)", "(1 / (tl.sqrt(b_mean) + eps))"),
            ),
        ),
        Mistake(
            key="eps left out",
            diagnosis="eps is missing under the root.",
            wrong=edited(epilogue, ("b_mean + eps", "b_mean")),
        ),
        Mistake(
            key="weight left out",
            diagnosis="The weight of the norm is missing.",
            wrong=edited(epilogue, ("norm_scale * b_w", "norm_scale")),
        ),
        Mistake(
            key="scale left out",
            diagnosis="norm_scale is missing, or comes before the norm, which "
            "takes it out again. In the paper it is 1 - lambda_init.",
            wrong=edited(epilogue, ("norm_scale * b_w", "b_w")),
            also=(
                edited(
                    epilogue,
                    ("norm_scale * b_w", "b_w"),
                    (_DIFFERENCE, f"norm_scale * ({_DIFFERENCE})"),
                ),
            ),
        ),
        Mistake(
            key="rows beyond the end",
            diagnosis="The last program goes beyond row T - 1: loads and "
            "stores need the mask o_t < T.",
            wrong=edited(
                epilogue,
                (", m_t[:, None], 0.0", ""),
                (", m_t, 1.0", ""),
                (", m_t[:, None])", ")"),
            ),
            also=(
                edited(epilogue, ("b_o, m_t[:, None])", "b_o)")),
                edited(epilogue, (", m_t, 1.0", "")),
            ),
        ),
    ),
    hints=(
        "A row of both accumulators lies in this program, so the whole of "
        "the row of o does. Which sums does the formula take?",
        "Load both accumulators (rows masked) and both sums; divide; "
        "subtract; tl.sum(b_o * b_o, 1) / DV is the mean square of each row.",
        "b_o = b_acc1 / b_sum1[:, None] - lam * (b_acc2 / b_sum2[:, None]); "
        "b_r = tl.rsqrt(tl.sum(b_o * b_o, 1) / DV + eps); store "
        "norm_scale * b_w[None, :] * b_r[:, None] * b_o.",
    ),
)
