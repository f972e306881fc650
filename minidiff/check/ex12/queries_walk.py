"""Exercise 12.3: the walk over the keys."""

from functools import partial
from math import e, log, log2
from typing import Any

import numpy as np
import torch
from torch import Tensor

from minidiff.course.kernels import DEVICE
from minidiff.course.kernels.fused_backward import load_rows, store_rows, tile
from minidiff.course.kernels.memory import fenced, poisoned

# The interpreter must be on before Triton comes.
import triton  # isort: skip
import triton.language as tl  # isort: skip

from minidiff.check.compare import same
from minidiff.check.core import Case, Exercise, Mistake
from minidiff.check.edited import edited, slip
from minidiff.check.kernels import draw, launch
from minidiff.course.kernels.trace import Touch

D = 16
# Two right answers differ by this in float16, where dS is rounded or is not.
TOLERANCE = 2e-3


@triton.jit
def queries_walk(
    p_q, p_k, p_v, p_do, p_lse, p_delta, p_dq,
    q_j, q_t, k_j, k_s, v_s, do_t, row_j, dq_j, dq_t, T, lam, scale, c,
    D: tl.constexpr, DV: tl.constexpr, BT: tl.constexpr, BS: tl.constexpr,
):  # fmt: skip
    """Write dq1 and dq2 of BT queries of one head, eq. 12.5.

    q, k and, to write, dq (2, T, D); v and do (T, DV), all of one dtype;
    lse and delta (2, T), float32, both with the stride row_j. Query t sees
    keys 0 to t. Program i takes the queries from i BT on and walks over the
    keys, BS at a time; it visits no block of keys that none of them sees.
    Use tile, load_rows and store_rows.
    """
    start_t = tl.program_id(0) * BT
    o_t = start_t + tl.arange(0, BT)
    # (BT, D)
    b_q1 = load_rows(p_q, o_t, q_t, T, W=D)
    b_q2 = load_rows(p_q + q_j, o_t, q_t, T, W=D)
    # (BT, DV)
    b_do = load_rows(p_do, o_t, do_t, T, W=DV)
    # (BT,)
    b_lse1 = tl.load(p_lse + o_t, o_t < T, 0.0)
    b_lse2 = tl.load(p_lse + row_j + o_t, o_t < T, 0.0)
    b_delta1 = tl.load(p_delta + o_t, o_t < T, 0.0)
    b_delta2 = tl.load(p_delta + row_j + o_t, o_t < T, 0.0)
    # (BT, D)
    b_dq1 = tl.zeros([BT, D], tl.float32)
    b_dq2 = tl.zeros([BT, D], tl.float32)
    for start_s in range(0, tl.minimum(start_t + BT, T), BS):
        o_s = start_s + tl.arange(0, BS)
        # (BS, D)
        b_k1 = load_rows(p_k, o_s, k_s, T, W=D)
        b_k2 = load_rows(p_k + k_j, o_s, k_s, T, W=D)
        # (BS, DV)
        b_v = load_rows(p_v, o_s, v_s, T, W=DV)
        # (BT, BS)
        m_seen = o_t[:, None] >= o_s[None, :]
        _, b_ds1, b_ds2 = tile(
            b_q1, b_q2, b_k1, b_k2, b_v, b_do, b_lse1, b_lse2, b_delta1,
            b_delta2, lam, m_seen, c,
        )  # fmt: skip
        # (BT, BS), and from these (BT, D)
        b_ds1 = b_ds1.to(b_k1.dtype)
        b_dq1 = tl.dot(b_ds1, b_k1, b_dq1, input_precision="ieee")
        b_ds2 = b_ds2.to(b_k2.dtype)
        b_dq2 = tl.dot(b_ds2, b_k2, b_dq2, input_precision="ieee")
    store_rows(p_dq, b_dq1 * scale, o_t, dq_t, T, W=D)
    store_rows(p_dq + dq_j, b_dq2 * scale, o_t, dq_t, T, W=D)


@triton.jit
def add_rows(p, b, o_t, stride, T, W: tl.constexpr):
    """Add b to rows o_t of the matrix (T, W) at p: for a wrong answer."""
    at = o_t[:, None] * stride + tl.arange(0, W)[None, :]
    tl.atomic_add(p + at, b.to(p.dtype.element_ty), (o_t < T)[:, None])


class HiddenBlockError(Exception):
    """A block of keys was read that no query of the program sees."""


def _expected(
    q: Tensor, k: Tensor, v: Tensor, do: Tensor, lam: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the log-sums, delta_1 and delta_2, and dq, from whole maps."""
    q, k, v, do = (x.float() for x in (q, k, v, do))
    T, c = q.shape[1], log2(e) / D**0.5
    hidden = torch.ones(T, T, dtype=torch.bool).triu(1)
    scores = (q[..., :D] @ k[..., :D].mT * c).masked_fill(hidden, -torch.inf)
    lse = scores.mul(log(2)).logsumexp(2) / log(2)
    maps = torch.exp2(scores - lse[:, :, None])
    slopes = do @ v[:, : do.shape[1]].mT
    delta = (maps * slopes).sum(2)
    right = maps * (slopes - delta[:, :, None]) @ k[..., :D] / D**0.5
    right[1] *= -lam
    return lse, delta, right


def _run(
    answer: Any,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    do: Tensor,
    lam: float,
    BT: int,
    BS: int,
) -> tuple[np.ndarray, ...] | None:
    T, DV, c, dtype = q.shape[1], do.shape[1], log2(e) / D**0.5, q.dtype
    lse, delta, right = _expected(q, k, v, do, lam)
    q, k, v, do, lse, delta = (
        fenced(x.to(DEVICE)) for x in (q, k, v, do, lse, delta)
    )
    # Strides that all differ from each other.
    q, k, v, dq = (
        q[..., :D],
        k[..., :D],
        v[..., :DV],
        poisoned(2, T, D, dtype=dtype),
    )
    late: list[tuple[int, int]] = []

    def look(touch: Touch) -> None:
        if (touch.kind, touch.name) == ("load", "p_k"):
            i = touch.program[0]
            keys = touch.element[touch.element >= 0] // D % T
            if keys.size and keys.min() >= (i + 1) * BT:
                late.append((i, int(keys.min())))

    found = launch(
        answer,
        (triton.cdiv(T, BT),),
        (
            q, k, v, do, lse, delta, dq, *q.stride()[:2], *k.stride()[:2],
            v.stride(0), do.stride(0), lse.stride(0), *dq.stride()[:2],
            T, lam, D**-0.5, c,
        ),
        (dq,),
        look,
        D=D,
        DV=DV,
        BT=BT,
        BS=BS,
    )  # fmt: skip
    if late and found is not None and same(found, [right.numpy()], TOLERANCE):
        raise HiddenBlockError(
            f"values are right, but program {late[0][0]} reads keys from "
            f"{late[0][1]} on, which none of its queries sees"
        )
    return found


def _cases() -> list[Case]:
    sizes = [(12, 0.7, 16, 16), (33, -0.3, 32, 16), (1, 0.7, 16, 16)]
    sizes += [(33, 1.2, 16, 32)]
    sizes += [(32, 0.7, 16, 16)]  # no row beyond the end: another stride shows
    cases = [
        Case(
            name=f"T = {T}, lam = {lam}, BT = {BT}, BS = {BS}",
            args=(*_inputs(seed, T), lam, BT, BS),
        )
        for seed, (T, lam, BT, BS) in enumerate(sizes)
    ]
    half = (x.half() for x in _inputs(5, 20, DV=16, size=0.5))
    name = "T = 20, BT = 16, BS = 16, float16"
    return [*cases, Case(name=name, args=(*half, 0.7, 16, 16))]


def _inputs(
    seed: int, T: int, DV: int = 32, size: float = 1.0
) -> tuple[Tensor, ...]:
    """q, k, v and do, with rows that are further apart than they are wide."""
    return (
        2 * size * draw(seed, 2, T, D + 5),
        2 * size * draw(seed + 10, 2, T, D + 2),
        size * draw(seed + 20, T, DV + 1),
        size * draw(seed + 30, T, DV),
    )


_edited = partial(edited, queries_walk)

_RANGE = "range(0, tl.minimum(start_t + BT, T), BS)"

EXERCISE = Exercise(
    id="12.3",
    cases=_cases,
    solution=queries_walk,
    run=_run,
    tolerance=TOLERANCE,
    mistakes=(
        Mistake(
            key="from the diagonal on",
            diagnosis="You walk from the diagonal to the end, as the keys' "
            "kernel does. A query sees the keys before it: walk from 0 to "
            "the diagonal.",
            wrong=_edited((_RANGE, "range(start_t // BS * BS, T, BS)")),
            also=(_edited((_RANGE, "range(start_t, T, BS)")),),
        ),
        Mistake(
            key="diagonal left out",
            diagnosis="The walk ends before the diagonal. The block's last "
            "query is start_t + BT - 1, and it sees the key of that number "
            "too.",
            wrong=_edited((_RANGE, "range(0, start_t, BS)")),
            also=(
                _edited(
                    (
                        _RANGE,
                        "range(0, tl.minimum(start_t + BT, T) // BS * BS, BS)",
                    )
                ),
                _edited((_RANGE, "range(0, start_t + 1, BS)")),
            ),
        ),
        Mistake(
            key="hidden blocks visited",
            diagnosis="The values are right, at twice the work: the walk can "
            "end at the last key that the program's last query sees, at "
            "start_t + BT, or at T if that is less.",
            wrong=_edited((_RANGE, "range(0, T, BS)")),
        ),
        Mistake(
            key="step of one",
            diagnosis="The walk moves on by one key, and its blocks overlap. "
            "Give range a third number, the step BS.",
            wrong=_edited((_RANGE, "range(0, tl.minimum(start_t + BT, T))")),
        ),
        Mistake(
            key="own key hidden",
            diagnosis="A query does not see its own key: your mask is off by "
            "one. It is >=, not >.",
            wrong=_edited(("o_t[:, None] >= o_s", "o_t[:, None] > o_s")),
        ),
        Mistake(
            key="mask without an axis",
            diagnosis="Your mask compares query t with key t only, or has "
            "shapes that do not fit. It is a block (BT, BS): queries go down, "
            "o_t[:, None], keys go across, o_s[None, :].",
            wrong=_edited(("o_t[:, None] >= o_s[None, :]", "o_t >= o_s")),
            also=(
                _edited(
                    ("o_t[:, None] >= o_s[None, :]", "o_t >= o_s[None, :]")
                ),
            ),
        ),
        Mistake(
            key="mask turned round",
            diagnosis="Your mask shows each query the keys after it. Query t "
            "sees keys 0 to t.",
            wrong=_edited(("o_t[:, None] >= o_s", "o_t[:, None] <= o_s")),
        ),
        Mistake(
            key="no mask of what is seen",
            diagnosis="Every query sees every key of its blocks. Those after "
            "it are hidden.",
            wrong=_edited(
                (
                    "o_t[:, None] >= o_s[None, :]",
                    "(o_t < T)[:, None] & (o_s < T)[None, :]",
                )
            ),
            also=(
                _edited(
                    (
                        "o_t[:, None] >= o_s[None, :]",
                        "(o_t >= 0)[:, None] & (o_s < T)[None, :]",
                    ),
                    (_RANGE, "range(0, T, BS)"),
                ),
            ),
        ),
        Mistake(
            key="stale accumulator",
            diagnosis="Each block of keys overwrites what the ones before "
            "gave. dq is a sum over all of them: hand tl.dot the "
            "accumulator.",
            wrong=_edited(
                ("b_ds1, b_k1, b_dq1,", "b_ds1, b_k1,"),
                ("b_ds2, b_k2, b_dq2,", "b_ds2, b_k2,"),
            ),
        ),
        Mistake(
            key="no scale",
            diagnosis="dq lacks the scale, 1 / sqrt(D): the logits are the "
            "products times that.",
            wrong=_edited(("* scale", "* 1.0")),
        ),
        Mistake(
            key="scale of base 2",
            diagnosis="You scale by c. It holds log2(e), which is for exp2; "
            "the gradient's factor is scale.",
            wrong=_edited(("* scale", "* c")),
        ),
        Mistake(
            key="scale twice",
            diagnosis="You scale dq twice. Of scale and c only scale belongs "
            "to dq, and once: tile has given c to the logits, and dS has no "
            "scale in it yet.",
            wrong=_edited(("* scale", "* scale * scale")),
            also=(_edited(("* scale", "* scale * c")),),
        ),
        Mistake(
            key="scale in tile",
            diagnosis="You hand scale to tile. It takes powers of 2, so its "
            "logits need c, which has log2(e) in it.",
            wrong=_edited(("lam, m_seen, c", "lam, m_seen, scale")),
        ),
        Mistake(
            key="scale at every step",
            diagnosis="You scale the whole accumulator at each block, so the "
            "first ones are scaled many times. Once, at the end.",
            wrong=_edited(
                ("* scale", "* 1.0"),
                (
                    "        b_dq2 = tl.dot(",
                    "        b_dq1 = b_dq1 * scale\n        b_dq2 = tl.dot(",
                ),
                (
                    "    store_rows(p_dq, b_dq1",
                    "        b_dq2 = b_dq2 * scale\n"
                    "    store_rows(p_dq, b_dq1",
                ),
            ),
        ),
        Mistake(
            key="queries for keys",
            diagnosis="You multiply dS by queries. dq is dS times keys.",
            wrong=_edited(
                ("tl.dot(b_ds1, b_k1", "tl.dot(b_ds1, b_q1"),
                ("tl.dot(b_ds2, b_k2", "tl.dot(b_ds2, b_q2"),
            ),
        ),
        Mistake(
            key="tile turned over",
            diagnosis="You turn dS over, as keys_kernel does. dq has a row "
            "for each query, and so has dS: dS k, without .T.",
            wrong=_edited(
                ("tl.dot(b_ds1,", "tl.dot(b_ds1.T,"),
                ("tl.dot(b_ds2,", "tl.dot(b_ds2.T,"),
            ),
        ),
        Mistake(
            key="tiles in another order",
            diagnosis="You take A1 - lam A2 for a dS. tile returns three "
            "tiles: A1 - lam A2, which dq does not need, then dS1, dS2.",
            wrong=_edited(("_, b_ds1, b_ds2 =", "b_ds1, b_ds2, _ =")),
        ),
        Mistake(
            key="keys of branch 1 twice",
            diagnosis="Branch 2 meets the keys of branch 1, in tile or in "
            "its sum. Its own begin k_j elements further on.",
            wrong=_edited(("p_k + k_j", "p_k")),
            also=(_edited(("tl.dot(b_ds2, b_k2", "tl.dot(b_ds2, b_k1")),),
        ),
        Mistake(
            key="queries of branch 1 twice",
            diagnosis="Branch 2 has the queries of branch 1. Its own begin "
            "q_j elements further on.",
            wrong=_edited(("p_q + q_j", "p_q")),
        ),
        Mistake(
            key="rows of branch 1 twice",
            diagnosis="Branch 2 gets the log-sums, or delta, of branch 1. "
            "Its own begin row_j elements further on.",
            wrong=_edited(("row_j + o_t", "o_t")),
            also=(
                _edited(("p_lse + row_j + o_t", "p_lse + o_t")),
                _edited(("p_delta + row_j + o_t", "p_delta + o_t")),
            ),
        ),
        Mistake(
            key="rows unmasked",
            diagnosis="You read log-sums or deltas beyond row T. tl.load "
            "needs the mask o_t < T, and 0.0 for what it hides.",
            wrong=_edited(("p_lse + o_t, o_t < T, 0.0", "p_lse + o_t")),
            also=(
                _edited(
                    (
                        "p_lse + row_j + o_t, o_t < T, 0.0",
                        "p_lse + row_j + o_t",
                    )
                ),
                _edited(("p_delta + o_t, o_t < T, 0.0", "p_delta + o_t")),
            ),
        ),
        Mistake(
            key="branch 2 right behind",
            diagnosis="You look for branch 2's log-sums, or its delta, from "
            "element T on. They begin row_j elements after branch 1's.",
            wrong=_edited(("row_j + o_t", "T + o_t")),
            also=(
                _edited(("p_lse + row_j + o_t", "p_lse + T + o_t")),
                _edited(("p_delta + row_j + o_t", "p_delta + T + o_t")),
            ),
        ),
        Mistake(
            key="same queries for all",
            diagnosis="Every program works on the first BT queries. Program "
            "i begins at query i BT.",
            wrong=_edited(("tl.program_id(0) * BT", "tl.program_id(0) * 0")),
        ),
        Mistake(
            key="a branch not written",
            diagnosis="Only one branch is written. dq2 begins dq_j elements "
            "after dq1.",
            wrong=_edited(
                (
                    "    store_rows(p_dq + dq_j, b_dq2 * scale, o_t, dq_t, "
                    "T, W=D)\n",
                    "",
                )
            ),
        ),
        Mistake(
            key="branches swapped",
            diagnosis="dq1 stands where dq2 belongs, and dq2 where dq1 does.",
            wrong=_edited(
                ("p_dq, b_dq1 *", "p_dq, b_dq0 *"),
                ("dq_j, b_dq2 *", "dq_j, b_dq1 *"),
                ("b_dq0", "b_dq2"),
            ),
            also=(
                _edited(
                    ("rows(p_dq, b_dq1", "rows(p_dq + dq_i, b_dq1"),
                    ("rows(p_dq + dq_j", "rows(p_dq"),
                    ("dq_i", "dq_j"),
                ),
            ),
        ),
        Mistake(
            key="added, not written",
            diagnosis="You add to dq in memory, where nothing was written "
            "before: every number is NaN. One program owns these rows, so it "
            "sums in registers and stores once; no atomics are needed.",
            wrong=_edited(
                ("store_rows(p_dq", "add_rows(p_dq"),
            ),
        ),
        Mistake(
            key="dS not rounded",
            diagnosis="tl.dot takes two blocks of one dtype. tile computes "
            "dS in float32; where the keys are float16 it must be rounded "
            "first: b_ds1.to(b_k1.dtype).",
            wrong=_edited(
                ("        b_ds1 = b_ds1.to(b_k1.dtype)\n", ""),
                ("        b_ds2 = b_ds2.to(b_k2.dtype)\n", ""),
            ),
            also=(
                _edited(("        b_ds1 = b_ds1.to(b_k1.dtype)\n", "")),
                _edited(("        b_ds2 = b_ds2.to(b_k2.dtype)\n", "")),
            ),
        ),
        Mistake(
            key="branch 2 onto branch 1",
            diagnosis="dq2 is written over dq1. It begins dq_j elements "
            "after it.",
            wrong=_edited(("p_dq + dq_j", "p_dq")),
        ),
        Mistake(
            key="wrong stride",
            diagnosis="You step through rows with another tensor's stride: "
            "q_t, k_s, v_s, do_t and dq_t are five different numbers, and "
            "none is D or DV.",
            wrong=_edited(
                ("p_k, o_s, k_s", "p_k, o_s, q_t"),
                ("p_k + k_j, o_s, k_s", "p_k + k_j, o_s, q_t"),
            ),
            also=(
                _edited(("p_do, o_t, do_t", "p_do, o_t, v_s")),
                _edited(("p_v, o_s, v_s", "p_v, o_s, do_t")),
                _edited(("o_t, dq_t", "o_t, q_t")),
                _edited(("o_t, dq_t", "o_t, q_t"), ("dq + dq_j", "dq + q_j")),
                _edited(
                    ("p_k, o_s, k_s", "p_k, o_s, q_t"),
                    ("p_k + k_j, o_s, k_s", "p_k + q_j, o_s, q_t"),
                ),
            ),
        ),
        slip(
            "the same keys in every round",
            "Every round of the loop takes the first keys. A round begins "
            "at start_s.",
            queries_walk,
            ("start_s + tl.arange(0, BS)", "tl.arange(0, BS)"),
        ),
        slip(
            "branches crossed",
            "The log-sums of the two branches are exchanged. Branch 1 comes "
            "first.",
            queries_walk,
            ("b_do, b_lse1, b_lse2,", "b_do, b_lse2, b_lse1,"),
        ),
    ),
    hints=(
        "Turn keys_kernel round: a program holds queries, log-sums and "
        "deltas, and walks over blocks of keys and values. Which block is the "
        "last that one of its queries sees?",
        "Load all that belongs to the queries first. Then for start_s in "
        "range(0, tl.minimum(start_t + BT, T), BS): load k1, k2 and v of "
        "rows start_s + tl.arange(0, BS), call tile, and add dS k to two "
        "accumulators (BT, D).",
        "m_seen = o_t[:, None] >= o_s[None, :]; _, b_ds1, b_ds2 = tile(...); "
        "b_dq1 = tl.dot(b_ds1.to(b_k1.dtype), b_k1, b_dq1, "
        'input_precision="ieee"), the same for 2; after the loop '
        "store_rows(p_dq, b_dq1 * scale, o_t, dq_t, T, W=D), and b_dq2 at "
        "p_dq + dq_j.",
    ),
)
