"""Exercise 12.1: through the norm, and two numbers a row."""

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from minidiff.course.kernels import DEVICE
from minidiff.course.kernels.fused_backward import load_rows, store_rows
from minidiff.course.kernels.memory import fenced, poisoned

# The interpreter must be on before Triton comes.
import triton  # isort: skip
import triton.language as tl  # isort: skip

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.check.edited import edited, slip
from minidiff.check.kernels import draw, launch

DV, BT = 32, 16


@triton.jit
def prepare(
    p_dy, p_o, p_o2, p_do, p_delta, dy_t, out_t, delta_j,
    T, lam, norm_scale, eps, DV: tl.constexpr, BT: tl.constexpr,
):  # fmt: skip
    """Write do by eq. 4.8, and delta_1 and delta_2 by eq. 12.2, for one head.

    dy, o and o2 (T, DV); to write: do (T, DV) in its own dtype, and delta
    (2, T), float32: delta_1, then delta_2. Rows of dy are dy_t elements
    apart, rows of o, of o2 and of do out_t, the two of delta delta_j.
    Program i takes BT rows, from row i BT on. norm_scale is the factor of
    the norm.
    """
    o_t = tl.program_id(0) * BT + tl.arange(0, BT)
    # (BT, DV)
    b_dy = load_rows(p_dy, o_t, dy_t, T, W=DV).to(tl.float32)
    b_o = load_rows(p_o, o_t, out_t, T, W=DV).to(tl.float32)
    b_o2 = load_rows(p_o2, o_t, out_t, T, W=DV).to(tl.float32)
    # (BT, 1)
    b_r = tl.rsqrt(tl.sum(b_o * b_o, 1) / DV + eps)[:, None]
    # (BT, DV)
    b_g = norm_scale * b_dy
    # (BT, 1)
    b_mean = tl.sum(b_g * b_o, 1)[:, None] / DV
    # (BT, DV)
    b_do = b_r * (b_g - b_o * b_r * b_r * b_mean)
    b_do = b_do.to(p_do.dtype.element_ty)
    store_rows(p_do, b_do, o_t, out_t, T, W=DV)
    b_do = b_do.to(tl.float32)
    # (BT,)
    b_delta2 = tl.sum(b_do * b_o2, 1)
    b_delta1 = tl.sum(b_do * b_o, 1) + lam * b_delta2
    tl.store(p_delta + o_t, b_delta1, o_t < T)
    tl.store(p_delta + delta_j + o_t, b_delta2, o_t < T)


def _run(
    answer: Any, dy: Tensor, o: Tensor, o2: Tensor, lam: float, eps: float
) -> tuple[np.ndarray, ...] | None:
    T = o.shape[0]
    dy = fenced(dy.to(DEVICE))[:, :DV]  # rows further apart than o's
    o, o2 = (fenced(x.to(DEVICE)) for x in (o, o2))
    do, delta = poisoned(T, DV, dtype=o.dtype), poisoned(2, T)
    return launch(
        answer,
        (triton.cdiv(T, BT),),
        (
            dy, o, o2, do, delta, dy.stride(0), o.stride(0), delta.stride(0),
            T, lam, 0.4, eps,
        ),
        (do, delta),
        DV=DV,
        BT=BT,
    )  # fmt: skip


def _rounded_case(
    T: int, eps: float = 1e-2
) -> tuple[Tensor, Tensor, Tensor, float, float]:
    """A case in float16 where delta of the rounded do is another number.

    No entry of do lies near the middle of two float16 numbers, so that all
    ways to compute it are rounded alike. o2 is 64 o and a little more:
    delta_2 is small, because do is at a right angle to o, and rounding shows.
    """
    for seed in range(100):
        dy = draw(seed, T, DV + 5, dtype=torch.float16)
        o = draw(seed + 100, T, DV, dtype=torch.float16)
        x, g = o.double(), 0.4 * dy[:, :DV].double()
        r = (x.square().mean(1, keepdim=True) + eps).rsqrt()
        do = r * (g - x * r * r * (g * x).mean(1, keepdim=True))
        ulp = 2.0 ** torch.floor(torch.log2(do.abs())) / 1024
        middle = ((do / ulp) % 1 - 0.5).abs().min()
        if middle > 1e-3 and do.abs().min() > 1e-4:
            o2 = (64 * o).float() + draw(seed + 200, T, DV)
            return dy, o, o2.half(), 0.5, eps
    raise RuntimeError("no seed gives entries away from all ties")


def _cases() -> list[Case]:
    cases = []
    for seed, (T, lam, eps) in enumerate(
        [(1, 0.5, 1e-2), (16, 0.8, 0.5), (33, -0.3, 1e-2)]
    ):
        dy, o = draw(seed, T, DV + 5), draw(seed + 10, T, DV)
        args = (dy, 0.3 * o, draw(seed + 20, T, DV), lam, eps)
        name = f"T = {T}, lam = {lam}, eps = {eps}, float32"
        cases.append(Case(name=name, args=args))
    name = "T = 3, lam = 0.5, float16"
    return [*cases, Case(name=name, args=_rounded_case(3))]


_edited = partial(edited, prepare)

_DELTA1 = "tl.sum(b_do * b_o, 1) + lam * b_delta2"

EXERCISE = Exercise(
    id="12.1",
    cases=_cases,
    solution=prepare,
    run=_run,
    tolerance=1e-3,
    mistakes=(
        Mistake(
            key="root held fixed",
            diagnosis="You treat r as a constant. Every channel of o is "
            "inside it too: the second term of eq. 4.8.",
            wrong=_edited((" - b_o * b_r * b_r * b_mean", "")),
        ),
        Mistake(
            key="scale not everywhere",
            diagnosis="norm_scale must be in each of the two terms, once. "
            "Multiply dy by it, before anything else.",
            wrong=_edited(("tl.sum(b_g * b_o", "tl.sum(b_dy * b_o")),
            also=(
                _edited(("* (b_g -", "* (b_dy -")),
                _edited(("tl.sum(b_g * b_o", "norm_scale * tl.sum(b_g * b_o")),
            ),
        ),
        Mistake(
            key="scale dropped",
            diagnosis="norm_scale is not used: do comes out larger by the "
            "same factor everywhere.",
            wrong=_edited(("norm_scale * b_dy", "b_dy")),
        ),
        Mistake(
            key="powers of r",
            diagnosis="A power of r is missing: eq. 4.8 has r in front, and "
            "r squared with o in the second term.",
            wrong=_edited(("b_o * b_r * b_r * b_mean", "b_o * b_r * b_mean")),
            also=(
                _edited(("b_o * b_r * b_r * b_mean", "b_o * b_mean")),
                _edited(("b_do = b_r * (", "b_do = (")),
            ),
        ),
        Mistake(
            key="sum for mean",
            diagnosis="You add up where eq. 4.8 takes the mean: a division "
            "by DV is missing.",
            wrong=_edited(
                ("tl.sum(b_o * b_o, 1) / DV", "tl.sum(b_o * b_o, 1)")
            ),
            also=(_edited(("[:, None] / DV", "[:, None]")),),
        ),
        Mistake(
            key="eps outside",
            diagnosis="eps stands outside of the root, or is left out. It is "
            "added to the mean square.",
            wrong=_edited(
                (
                    "tl.rsqrt(tl.sum(b_o * b_o, 1) / DV + eps)",
                    "(1 / (tl.sqrt(tl.sum(b_o * b_o, 1) / DV) + eps))",
                )
            ),
            also=(_edited(("/ DV + eps", "/ DV")),),
        ),
        Mistake(
            key="sums of dy",
            diagnosis="delta_1 and delta_2 are row sums with do, the "
            "gradient after the norm; you took dy, or the scaled dy.",
            wrong=_edited(
                ("tl.sum(b_do * b_o2", "tl.sum(b_dy * b_o2"),
                ("tl.sum(b_do * b_o,", "tl.sum(b_dy * b_o,"),
            ),
            also=(
                _edited(
                    ("tl.sum(b_do * b_o2", "tl.sum(b_g * b_o2"),
                    ("tl.sum(b_do * b_o,", "tl.sum(b_g * b_o,"),
                ),
            ),
        ),
        Mistake(
            key="o for o1",
            diagnosis="Your delta_1 is the row sum of do and o. It needs "
            "branch 1's output, o1 = o + lam o2.",
            wrong=_edited((_DELTA1, "tl.sum(b_do * b_o, 1)")),
        ),
        Mistake(
            key="sign of lam",
            diagnosis="You take lam o2 off o to get o1. It has been taken "
            "off already: add it again.",
            wrong=_edited(("+ lam * b_delta2", "- lam * b_delta2")),
        ),
        Mistake(
            key="lam dropped",
            diagnosis="delta_1 lacks lam: o1 = o + lam o2, so delta_1 = "
            "rowsum(do o) + lam delta_2.",
            wrong=_edited(("+ lam * b_delta2", "+ b_delta2")),
        ),
        Mistake(
            key="identity for the row sum",
            diagnosis="You left the row sum of do and o out, as it is almost "
            "0 under the norm. But eps keeps it from 0, and so does "
            "rounding: add it up.",
            wrong=_edited((_DELTA1, "lam * b_delta2")),
        ),
        Mistake(
            key="branches swapped",
            diagnosis="delta_1 stands where delta_2 belongs, and delta_2 "
            "where delta_1 does.",
            wrong=_edited(
                ("b_delta1, o_t < T", "b_delta3, o_t < T"),
                ("b_delta2, o_t < T", "b_delta1, o_t < T"),
                ("b_delta3, o_t < T", "b_delta2, o_t < T"),
            ),
        ),
        Mistake(
            key="sums before rounding",
            diagnosis="delta_1 and delta_2 do not belong to the do that you "
            "stored: float16 rounded it on the way. Round first, then add "
            "up.",
            wrong=_edited(
                ("    b_do = b_do.to(p_do.dtype.element_ty)\n", ""),
                ("    b_do = b_do.to(tl.float32)\n", ""),
            ),
        ),
        Mistake(
            key="wrong stride",
            diagnosis="You step through rows with another tensor's stride. "
            "Rows of dy are dy_t elements apart, those of o, o2 and do "
            "out_t, and neither is DV.",
            wrong=_edited(("p_dy, o_t, dy_t", "p_dy, o_t, out_t")),
            also=(
                _edited(("p_o, o_t, out_t", "p_o, o_t, dy_t")),
                _edited(("p_o2, o_t, out_t", "p_o2, o_t, dy_t")),
                _edited(
                    ("p_o, o_t, out_t", "p_o, o_t, DV"),
                    ("p_o2, o_t, out_t", "p_o2, o_t, DV"),
                    ("p_do, b_do, o_t, out_t", "p_do, b_do, o_t, DV"),
                ),
                _edited(("p_do, b_do, o_t, out_t", "p_do, b_do, o_t, DV")),
                _edited(("p_do, b_do, o_t, out_t", "p_do, b_do, o_t, dy_t")),
            ),
        ),
        Mistake(
            key="delta_2 right behind delta_1",
            diagnosis="You write delta_2 from element T of delta on. Its row "
            "begins delta_j elements after that of delta_1.",
            wrong=_edited(("p_delta + delta_j", "p_delta + T")),
        ),
        Mistake(
            key="delta_1 unmasked",
            diagnosis="You write delta beyond row T. tl.store needs the mask "
            "o_t < T.",
            wrong=_edited(("b_delta1, o_t < T", "b_delta1")),
            also=(_edited(("b_delta2, o_t < T", "b_delta2")),),
        ),
        Mistake(
            key="output not written",
            diagnosis="An output still holds the NaN that stood there before. "
            "Three things are to be written: do, and both rows of delta.",
            wrong=_edited(
                ("    store_rows(p_do, b_do, o_t, out_t, T, W=DV)\n", "")
            ),
            also=(
                _edited(
                    ("    tl.store(p_delta + o_t, b_delta1, o_t < T)", "")
                ),
                _edited(
                    (
                        "    tl.store(p_delta + delta_j + o_t, b_delta2, "
                        "o_t < T)",
                        "",
                    )
                ),
            ),
        ),
        Mistake(
            key="same rows for all",
            diagnosis="Every program works on the first BT rows. Program i "
            "begins at row i BT.",
            wrong=_edited(("tl.program_id(0) * BT + ", "")),
        ),
        slip(
            "sign of the second term",
            "The second term of eq. 4.8 is added. It takes away what the "
            "norm does not let through.",
            prepare,
            ("(b_g - b_o * b_r", "(b_g + b_o * b_r"),
        ),
        slip(
            "root or inverse forgotten",
            "r is one over a root: of the mean square of the row, plus eps.",
            prepare,
            (
                "b_r = tl.rsqrt(tl.sum(b_o * b_o, 1) / DV + eps)",
                "b_r = (tl.sum(b_o * b_o, 1) / DV + eps)",
            ),
            ("b_r = tl.rsqrt(", "b_r = tl.sqrt("),
            ("b_r = tl.rsqrt(", "b_r = 1 / ("),
        ),
    ),
    hints=(
        "In chapter 4 the whole answer is one line each: eq. 4.8, and row "
        "sums. Here a row is a row of a block, and tl.sum(x, 1) adds it up.",
        "Load three blocks and turn them into float32. r is one number a "
        "row: [:, None] makes it a column. Round do by "
        ".to(p_do.dtype.element_ty) and store it; then go on with the "
        "rounded numbers, in float32 again.",
        "b_r = tl.rsqrt(tl.sum(b_o * b_o, 1) / DV + eps)[:, None]; b_g = "
        "norm_scale * b_dy; b_do = b_r * (b_g - b_o * b_r * b_r * "
        "(tl.sum(b_g * b_o, 1) / DV)[:, None]); after rounding and storing, "
        "delta_2 = tl.sum(b_do * b_o2, 1), delta_1 = tl.sum(b_do * b_o, 1) + "
        "lam * delta_2.",
    ),
)
