"""Exercise 12.2: one tile of the backward pass."""

from functools import partial
from math import e, log, log2
from typing import Any

import numpy as np
import torch
from torch import Tensor

from minidiff.course.kernels import DEVICE
from minidiff.course.kernels.fused_backward import load_rows, store_rows
from minidiff.course.kernels.memory import poisoned

# The interpreter must be on before Triton comes.
import triton  # isort: skip
import triton.language as tl  # isort: skip

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.check.edited import edited
from minidiff.check.kernels import NothingWrittenError, draw, launch

D, DV, N = 16, 32, 16


@triton.jit
def one_tile(
    b_q1, b_q2, b_k1, b_k2, b_v, b_do, b_lse1, b_lse2, b_delta1, b_delta2,
    lam, m_seen, c,
):  # fmt: skip
    """Return a tile of A1 - lam A2, of dS1 and of dS2, each (BT, BS).

    b_q1, b_q2 (BT, D), b_k1, b_k2 (BS, D), b_v (BS, DV) and b_do (BT, DV);
    the log-sums, base 2, and delta_1, delta_2 (BT,). m_seen (BT, BS) is true
    where the query sees the key; elsewhere a logit may be anything, and all
    three tiles are 0. c is the scale times log2(e). Give tl.dot
    input_precision="ieee".
    """
    # (BT, BS)
    b_s1 = tl.dot(b_q1, b_k1.T, input_precision="ieee") * c
    b_s2 = tl.dot(b_q2, b_k2.T, input_precision="ieee") * c
    b_a1 = tl.where(m_seen, tl.exp2(b_s1 - b_lse1[:, None]), 0.0)
    b_a2 = tl.where(m_seen, tl.exp2(b_s2 - b_lse2[:, None]), 0.0)
    b_da = tl.dot(b_do, b_v.T, input_precision="ieee")
    b_ds1 = b_a1 * (b_da - b_delta1[:, None])
    b_ds2 = lam * b_a2 * (b_delta2[:, None] - b_da)
    return b_a1 - lam * b_a2, b_ds1, b_ds2


@triton.jit
def around(
    p_q, p_k, p_v, p_do, p_row, p_out, lam, shift, c, out_n, out_t,
    TILE: tl.constexpr, D: tl.constexpr, DV: tl.constexpr, N: tl.constexpr,
):  # fmt: skip
    """Load what an answer is given, call it, and store what it returns."""
    o = tl.arange(0, N)
    done = TILE(
        load_rows(p_q, o, D, N, W=D),
        load_rows(p_q + N * D, o, D, N, W=D),
        load_rows(p_k, o, D, N, W=D),
        load_rows(p_k + N * D, o, D, N, W=D),
        load_rows(p_v, o, DV, N, W=DV),
        load_rows(p_do, o, DV, N, W=DV),
        tl.load(p_row + o),
        tl.load(p_row + N + o),
        tl.load(p_row + 2 * N + o),
        tl.load(p_row + 3 * N + o),
        lam,
        o[:, None] + shift >= o[None, :],
        c,
    )
    if done is not None:
        b_a, b_ds1, b_ds2 = done
        store_rows(p_out, b_a, o, out_t, N, W=N)
        store_rows(p_out + out_n, b_ds1, o, out_t, N, W=N)
        store_rows(p_out + 2 * out_n, b_ds2, o, out_t, N, W=N)


def _run(
    answer: Any,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    do: Tensor,
    rows: Tensor,
    lam: float,
    shift: int,
    c: float,
) -> tuple[np.ndarray, ...] | None:
    if not hasattr(answer, "fn"):
        raise TypeError(
            f"got a {type(answer).__name__}, expected a kernel: is the line "
            "@triton.jit above it missing?"
        )
    given = [x.to(DEVICE) for x in (q, k, v, do, rows)]
    out = poisoned(3, N, N)
    args = (*given, out, lam, shift, c, *out.stride()[:2])
    try:
        done = launch(around, (1,), args, (out,), TILE=answer, D=D, DV=DV, N=N)
    except NothingWrittenError:  # a stub: it returns nothing to be written
        return None
    return None if done is None else tuple(done[0])


def _case(seed: int, shift: int, lam: float, logits: float) -> Case:
    """A tile whose log-sums are those of its rows and some more keys."""
    q, k = logits * draw(seed, 2, N, D), draw(seed + 10, 2, N, D)
    c = log2(e) / D**0.5
    o = torch.arange(N)
    seen = o[:, None] + shift >= o
    scores = (q @ k.mT * c).masked_fill(~seen, -torch.inf)
    other = draw(seed + 20, 2, N, 1) * logits
    lse = torch.cat([scores, other], 2).mul(log(2)).logsumexp(2) / log(2)
    rows = torch.cat([lse, draw(seed + 30, 2, N)])
    v, do = draw(seed + 40, N, DV), draw(seed + 50, N, DV)
    where = "all keys seen" if shift >= N else "a tile on the diagonal"
    if logits > 10:
        where += ", large logits"
    return Case(
        name=f"{where}, lam = {lam}", args=(q, k, v, do, rows, lam, shift, c)
    )


def _cases() -> list[Case]:
    return [
        _case(0, 0, 0.5, 1.0),
        _case(1, N, 0.8, 1.0),
        _case(2, -3, -0.3, 1.0),  # the first rows see nothing
        _case(3, 0, 1.2, 60.0),
    ]


_edited = partial(edited, one_tile)


def _scores(old: str, new: str) -> Any:
    """The same change in both branches."""
    return _edited(
        (old.format(1), new.format(1)), (old.format(2), new.format(2))
    )


_MAP = "tl.where(m_seen, tl.exp2(b_s{0} - b_lse{0}[:, None]), 0.0)"

EXERCISE = Exercise(
    id="12.2",
    cases=_cases,
    solution=one_tile,
    run=_run,
    tolerance=1e-4,
    mistakes=(
        Mistake(
            key="base e",
            diagnosis="You take exp of a number in base 2. c holds log2(e) "
            "and the log-sums are base 2: exp2.",
            wrong=_scores("tl.exp2(b_s{0}", "tl.exp(b_s{0}"),
        ),
        Mistake(
            key="no scale",
            diagnosis="The logits lack c, the scale times log2(e): q k' c.",
            wrong=_edited((") * c", ")")),
        ),
        Mistake(
            key="log-sum scaled",
            diagnosis="You scale the log-sum too. It was taken of scaled "
            "logits: exp2(q k' c - lse).",
            wrong=_scores(
                "b_s{0} - b_lse{0}[:, None]", "b_s{0} - b_lse{0}[:, None] * c"
            ),
        ),
        Mistake(
            key="no mask",
            diagnosis="Weights of keys that the query does not see are left "
            "in. Set them to 0 by m_seen.",
            wrong=_scores(_MAP, "tl.exp2(b_s{0} - b_lse{0}[:, None])"),
        ),
        Mistake(
            key="mask as a factor",
            diagnosis="You multiply by the mask. The logit of a hidden key "
            "may be anything, and its exp2 infinite: inf * 0 is NaN. Take "
            "tl.where.",
            wrong=_scores(
                _MAP,
                "tl.exp2(b_s{0} - b_lse{0}[:, None]) * m_seen.to(tl.float32)",
            ),
        ),
        Mistake(
            key="hidden logits are 0",
            diagnosis="You set hidden logits to 0, and a power of 2 is never "
            "0. Set them to -inf, or the weights to 0.",
            wrong=_scores(
                _MAP,
                "tl.exp2(tl.where(m_seen, b_s{0}, 0.0) - b_lse{0}[:, None])",
            ),
            also=(
                _scores(
                    _MAP,
                    "tl.exp2(tl.where(m_seen, b_s{0} - b_lse{0}[:, None], "
                    "0.0))",
                ),
            ),
        ),
        Mistake(
            key="mask turned round",
            diagnosis="You keep what is hidden and drop what is seen: "
            "m_seen is true where the query sees the key.",
            wrong=_scores(
                _MAP,
                "tl.where(m_seen, 0.0, tl.exp2(b_s{0} - b_lse{0}[:, None]))",
            ),
        ),
        Mistake(
            key="numbers of columns",
            diagnosis="Log-sums, delta_1 and delta_2 are one number a query, "
            "that is a row of the tile: [:, None]. You spread them over the "
            "keys.",
            wrong=_edited(
                ("b_lse1[:, None]", "b_lse1[None, :]"),
                ("b_lse2[:, None]", "b_lse2[None, :]"),
                ("b_delta1[:, None]", "b_delta1[None, :]"),
                ("b_delta2[:, None]", "b_delta2[None, :]"),
            ),
            also=(
                _scores("b_delta{0}[:, None]", "b_delta{0}[None, :]"),
                _scores("b_lse{0}[:, None]", "b_lse{0}[None, :]"),
            ),
        ),
        Mistake(
            key="tile turned over",
            diagnosis="dA has a row for each query, do v'. You made v do', a "
            "row for each key.",
            wrong=_edited(("tl.dot(b_do, b_v.T", "tl.dot(b_v, b_do.T")),
        ),
        Mistake(
            key="keys of branch 1 twice",
            diagnosis="Branch 2's queries meet branch 1's keys. Each branch "
            "has its own.",
            wrong=_edited(("b_k2.T", "b_k1.T")),
        ),
        Mistake(
            key="log-sum of branch 1 twice",
            diagnosis="Branch 2's weights are divided by branch 1's sum: "
            "each branch has its own log-sum.",
            wrong=_edited(("b_lse2[:, None]", "b_lse1[:, None]")),
        ),
        Mistake(
            key="lam dropped in dS2",
            diagnosis="dS2 lacks lam: A2 enters the difference lam times, "
            "eq. 4.7.",
            wrong=_edited(("lam * b_a2 * (", "b_a2 * (")),
        ),
        Mistake(
            key="sign of dS2",
            diagnosis="dS2 has the wrong sign: the second map is taken away, "
            "so lam A2 (delta_2 - dA).",
            wrong=_edited(
                ("(b_delta2[:, None] - b_da)", "(b_da - b_delta2[:, None])")
            ),
        ),
        Mistake(
            key="lam in both branches",
            diagnosis="lam is in dS1 as well. A1 enters the difference once: "
            "lam belongs to branch 2.",
            wrong=_edited(("b_ds1 = b_a1", "b_ds1 = lam * b_a1")),
            also=(
                _edited(
                    ("b_ds1 = b_a1", "b_ds1 = lam * b_a1"),
                    ("return b_a1 - lam", "return lam * b_a1 - lam"),
                ),
            ),
        ),
        Mistake(
            key="lam twice",
            diagnosis="lam stands in branch 2 twice. If your A2 holds it "
            "already, it is in dS2 and in the difference too.",
            wrong=_edited(
                ("b_a2 = tl.where", "b_a2 = lam * tl.where"),
            ),
            also=(
                _edited(("lam * b_a2 * (", "lam * lam * b_a2 * (")),
                _edited(
                    (
                        "return b_a1 - lam * b_a2",
                        "return b_a1 - lam * lam * b_a2",
                    )
                ),
            ),
        ),
        Mistake(
            key="lam on delta_2",
            diagnosis="delta_2 is multiplied by lam, and dA is not. The whole "
            "bracket is, once: lam A2 (delta_2 - dA).",
            wrong=_edited(
                (
                    "lam * b_a2 * (b_delta2[:, None] - b_da)",
                    "b_a2 * (lam * b_delta2[:, None] - b_da)",
                )
            ),
            also=(
                _edited(("(b_delta2[:, None]", "(lam * b_delta2[:, None]")),
            ),
        ),
        Mistake(
            key="lam dropped in the map",
            diagnosis="The first tile is A1 - A2. It is A1 - lam A2.",
            wrong=_edited(("return b_a1 - lam * b_a2", "return b_a1 - b_a2")),
        ),
        Mistake(
            key="no delta",
            diagnosis="delta_1 and delta_2 are not used. Slopes count "
            "against the row's mean slope, eq. 4.4.",
            wrong=_edited(
                ("(b_da - b_delta1[:, None])", "b_da"),
                ("(b_delta2[:, None] - b_da)", "-b_da"),
            ),
        ),
        Mistake(
            key="one delta for both",
            diagnosis="Both branches subtract the same delta. delta_1 "
            "belongs to A1, delta_2 to A2.",
            wrong=_edited(("b_delta2[:, None]", "b_delta1[:, None]")),
            also=(_edited(("b_delta1[:, None]", "b_delta2[:, None]")),),
        ),
        Mistake(
            key="delta of the other branch",
            diagnosis="delta_1 and delta_2 have changed places: delta_1 "
            "belongs to A1.",
            wrong=_edited(
                ("b_delta2[:, None]", "b_delta3[:, None]"),
                ("b_delta1[:, None]", "b_delta2[:, None]"),
                ("b_delta3[:, None]", "b_delta1[:, None]"),
            ),
        ),
        Mistake(
            key="results in another order",
            diagnosis="The three tiles come in another order. Return "
            "A1 - lam A2 first, then dS1, then dS2.",
            wrong=_edited(
                (
                    "return b_a1 - lam * b_a2, b_ds1, b_ds2",
                    "return b_ds1, b_ds2, b_a1 - lam * b_a2",
                )
            ),
            also=(_edited((", b_ds1, b_ds2", ", b_ds2, b_ds1")),),
        ),
        Mistake(
            key="c again",
            diagnosis="You multiply dS by c. The scale comes at the very "
            "end, in dq and dk, and without log2(e).",
            wrong=_edited(
                ("b_ds1 = b_a1", "b_ds1 = c * b_a1"),
                ("b_ds2 = lam", "b_ds2 = c * lam"),
            ),
        ),
    ),
    hints=(
        "Three products, and then element by element: eq. 12.1 gives A1 and "
        "A2, eq. 4.7 the rest. What is one number a row needs [:, None].",
        "A1 = exp2(q1 k1' c - lse1), where hidden 0; dA = do v', once. A "
        "hidden key's exp2 may be infinite, so take tl.where(m_seen, ..., "
        "0.0), no product.",
        'b_da = tl.dot(b_do, b_v.T, input_precision="ieee"); dS1 = A1 * '
        "(b_da - b_delta1[:, None]); dS2 = lam * A2 * (b_delta2[:, None] - "
        "b_da); return A1 - lam * A2, dS1, dS2.",
    ),
)
