"""Exercise 10.4: the whole kernel, causal."""

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from minidiff.course.kernels import DEVICE
from minidiff.course.kernels.flash import LOG2_E, softmax_step
from minidiff.course.kernels.memory import fenced, poisoned
from minidiff.course.kernels.trace import Touch

# The interpreter must be on before Triton comes.
import triton  # isort: skip
import triton.language as tl  # isort: skip

from minidiff.check.compare import same
from minidiff.check.core import Case, Exercise, Mistake
from minidiff.check.edited import edited, slip
from minidiff.check.kernels import draw, launch


@triton.jit
def causal_kernel(
    p_q, p_k, p_v, p_out, p_lse,
    q_n, q_t, k_n, k_s, v_n, v_s, out_n, out_t, lse_n,
    T, S, c,
    D: tl.constexpr, DV: tl.constexpr, BT: tl.constexpr, BS: tl.constexpr,
):  # fmt: skip
    """out = softmax(q k') v and its log-sum; query t sees keys to t + S - T.

    For N heads, T <= S: q (N, T, D), k (N, S, D), v (N, S, DV), out
    (N, T, DV), lse (N, T). q_n and q_t are the strides of q between heads and
    between rows, and so on; the numbers of a row lie side by side. Program
    (n, i) takes BT queries of head n, from i * BT on, and visits no block of
    keys that none of them sees. Scores in base 2 are c times q k'. All are
    float32, or q, k, v and out are float16.
    """
    i_n, i_t = tl.program_id(0), tl.program_id(1)
    o_t = i_t * BT + tl.arange(0, BT)
    o_d, o_v = tl.arange(0, D), tl.arange(0, DV)
    m_t = o_t < T
    # (BT, D)
    at_q = i_n * q_n + o_t[:, None] * q_t + o_d[None, :]
    b_q = tl.load(p_q + at_q, m_t[:, None], 0.0)
    # (BT, DV)
    b_acc = tl.zeros([BT, DV], tl.float32)
    # (BT,)
    b_top = tl.full([BT], float("-inf"), tl.float32)
    b_sum = tl.zeros([BT], tl.float32)
    end = tl.minimum(S, (i_t + 1) * BT + S - T)
    for start_s in range(0, end, BS):
        o_s = start_s + tl.arange(0, BS)
        m_s = (o_s < S)[:, None]
        # (BS, D)
        at_k = i_n * k_n + o_s[:, None] * k_s + o_d[None, :]
        b_k = tl.load(p_k + at_k, m_s, 0.0)
        # (BS, DV)
        at_v = i_n * v_n + o_s[:, None] * v_s + o_v[None, :]
        b_v = tl.load(p_v + at_v, m_s, 0.0)
        # (BT, BS)
        b_s = tl.dot(b_q, b_k.T, input_precision="ieee") * c
        m_seen = o_s[None, :] <= o_t[:, None] + S - T
        b_s = tl.where(m_seen, b_s, float("-inf"))
        # (BT, DV), (BT,), (BT,)
        b_acc, b_top, b_sum = softmax_step(b_acc, b_top, b_sum, b_s, b_v)
    # (BT, DV)
    at_out = i_n * out_n + o_t[:, None] * out_t + o_v[None, :]
    tl.store(p_out + at_out, b_acc / b_sum[:, None], m_t[:, None])
    tl.store(p_lse + i_n * lse_n + o_t, b_top + tl.log2(b_sum), m_t)


def _wide(x: Tensor, gap: int) -> Tensor:
    """Fence x, and give its rows a stride that no other tensor has."""
    more = torch.nn.functional.pad(x, (0, gap), value=torch.nan)
    return fenced(more.to(DEVICE))[..., : x.shape[-1]]


# Float32 scores of some hundreds leave weights this exact, not more.
TOLERANCE = 5e-5


class HiddenBlockError(Exception):
    """A block of keys was read that no query of the program sees."""


def _run(
    answer: Any, q: Tensor, k: Tensor, v: Tensor, BT: int, BS: int
) -> tuple[np.ndarray, ...] | None:
    (N, T, D), (S, DV) = q.shape, v.shape[1:]
    right = _truth(q, k, v)
    q, k, v = _wide(q, 6), _wide(k, 4), _wide(v, 2)
    out, lse = poisoned(N, T, DV, dtype=q.dtype), poisoned(N, T)
    hidden = []

    def look(touch: Touch) -> None:
        if (touch.kind, touch.name) == ("load", "p_k"):
            i = touch.program[1]
            keys = touch.element[touch.element >= 0] // D % S
            first = int(keys.min(initial=S))  # S: no key of the block exists
            if first >= min(S, (i + 1) * BT + S - T):
                hidden.append((i, first))

    found = launch(
        answer,
        (N, triton.cdiv(T, BT)),
        (
            q, k, v, out, lse,
            *q.stride()[:2], *k.stride()[:2], *v.stride()[:2],
            *out.stride()[:2], lse.stride(0),
            T, S, D**-0.5 * LOG2_E,
        ),
        [out, lse],
        look,
        D=D, DV=DV, BT=BT, BS=BS,
    )  # fmt: skip
    if hidden and found is not None and same(found, right, TOLERANCE):
        raise HiddenBlockError(
            f"values are right, but block {hidden[0][0]} of the queries visits"
            f" a block of keys, from {hidden[0][1]} on, that none of them sees"
        )
    return found


def _truth(q: Tensor, k: Tensor, v: Tensor) -> tuple[np.ndarray, ...]:
    """What the whole map gives, in float64."""
    q, k, v = (x.double() for x in (q, k, v))
    (T, D), S = q.shape[1:], k.shape[1]
    seen = torch.ones(T, S, dtype=torch.bool).tril(S - T)
    logits = (q @ k.mT / D**0.5).masked_fill(~seen, -torch.inf)
    lse = logits.logsumexp(-1) * LOG2_E
    return (logits.softmax(-1) @ v).numpy(), lse.numpy()


def _cases() -> list[Case]:
    cases = []
    # With seed 26 query 0 sees one key, and its score is -2.95e9.
    for seed, N, T, S, DV, BT, BS, logits in (
        (0, 1, 1, 1, 16, 16, 16, 1),
        (1, 2, 3, 35, 32, 16, 16, 1),
        (2, 1, 17, 17, 16, 16, 16, 1),
        (26, 1, 32, 32, 16, 32, 16, 1e9),
        (4, 2, 19, 33, 32, 16, 32, 5),
        (5, 1, 3, 16, 16, 32, 16, 1),  # only the minimum with S ends the loop
    ):
        q, k = logits * draw(seed, N, T, 16), draw(seed + 9, N, S, 16)
        v = draw(seed + 99, N, S, DV)
        name = f"N = {N}, T = {T}, S = {S}, Dv = {DV}, BT = {BT}, BS = {BS}"
        if logits == 1e9:
            name += ", large scores"
        cases.append(Case(name=name, args=(q, k, v, BT, BS)))
    # 32 times one key, values in eighths: exact in float16, in any order.
    q, k = draw(7, 1, 1, 16).half(), draw(8, 1, 1, 16).half()
    v = (8 * draw(6, 1, 32, 16)).round().half() / 8
    args = q, k.expand(1, 32, 16), v, 16, 16
    cases.append(Case(name="N = 1, T = 1, S = 32, float16", args=args))
    return cases


_edited = partial(edited, causal_kernel)


MASK = "o_s[None, :] <= o_t[:, None] + S - T"
END = "tl.minimum(S, (i_t + 1) * BT + S - T)"
STEP = "softmax_step(b_acc, b_top, b_sum, b_s, b_v)"
LOAD_K, LOAD_V = "at_k, m_s, 0.0", "at_v, m_s, 0.0"
HIDE = 'b_s = tl.where(m_seen, b_s, float("-inf"))'
HIDE_IF = "if start_s + BS > {}:\n            " + HIDE
LSE = "b_top + tl.log2(b_sum)"


def _inline(shrink_sum: str, shrink_acc: str, weight: str = "tl.exp2") -> str:
    """The step written out, rightly or not; b_new is the new maximum."""
    return (
        f"(b_acc * {shrink_acc} + tl.dot({weight}(b_s - tl.maximum(b_top, "
        "tl.max(b_s, 1))[:, None]).to(b_v.dtype), b_v, "
        'input_precision="ieee"), tl.maximum(b_top, tl.max(b_s, 1)), '
        f"b_sum * {shrink_sum} + tl.sum({weight}(b_s - tl.maximum(b_top, "
        "tl.max(b_s, 1))[:, None]), 1))"
    )


FACTOR = "tl.exp2(b_top - tl.maximum(b_top, tl.max(b_s, 1)))"

TOP = "tl.maximum(b_top, tl.max(b_s, 1))"
NO_MAXIMUM = (
    "(b_acc + tl.dot(tl.exp2(b_s).to(b_v.dtype), b_v, "
    'input_precision="ieee"), tl.zeros([BT], tl.float32), '
    "b_sum + tl.sum(tl.exp2(b_s), 1))"
)

EXERCISE = Exercise(
    id="10.4",
    cases=_cases,
    solution=causal_kernel,
    run=_run,
    tolerance=TOLERANCE,
    mistakes=(
        Mistake(
            key="no causal mask",
            diagnosis="Every query sees every key of the blocks it visits. "
            "Hide key s from query t where s > t + S - T: tl.where, with "
            "-inf.",
            wrong=_edited((MASK, "(o_s < S)[None, :] & (o_t >= 0)[:, None]")),
            also=(
                _edited(
                    (MASK, "(o_s < S)[None, :] & (o_t >= 0)[:, None]"),
                    (END, "S"),
                ),
                _edited((HIDE, "pass")),
                _edited((HIDE, "pass"), (END, "S")),
            ),
        ),
        Mistake(
            key="hidden by 0",
            diagnosis="A hidden score is set to 0. That is a score like any "
            "other, with a weight above 0: put -inf there.",
            wrong=_edited((HIDE, "b_s = tl.where(m_seen, b_s, 0.0)")),
            also=(
                _edited(
                    (HIDE, "b_s = tl.where(m_seen, b_s, 0.0)"), (END, "S")
                ),
            ),
        ),
        Mistake(
            key="places inside the block",
            diagnosis="The mask compares places inside a block. It needs "
            "those in the sequence: i_t * BT + tl.arange(0, BT) for queries, "
            "start_s + tl.arange(0, BS) for keys.",
            wrong=_edited((MASK, MASK.replace("o_t", "tl.arange(0, BT)"))),
            also=(
                _edited((MASK, MASK.replace("o_s", "tl.arange(0, BS)"))),
                _edited(
                    (
                        MASK,
                        f"({MASK.replace('o_s', 'tl.arange(0, BS)')}) "
                        "& (o_s < S)[None, :]",
                    )
                ),
                _edited(
                    (
                        MASK,
                        MASK.replace("o_t", "tl.arange(0, BT)").replace(
                            "o_s", "tl.arange(0, BS)"
                        ),
                    )
                ),
            ),
        ),
        Mistake(
            key="mask left out too early",
            diagnosis="Blocks go without a mask that need one. Whole is a "
            "block that the *first* query sees to its end: "
            "start_s + BS <= i_t * BT + S - T + 1.",
            wrong=_edited((HIDE, HIDE_IF.format("i_t * BT + S - T + 2"))),
            also=(
                _edited((HIDE, HIDE_IF.format("(i_t + 1) * BT + S - T"))),
                _edited((HIDE, HIDE_IF.format("(i_t + 1) * BT + S - T - 1"))),
            ),
        ),
        Mistake(
            key="own key hidden",
            diagnosis="The diagonal is off by one: query t does not see key "
            "t + S - T, its own. Use <=, not <.",
            wrong=_edited((MASK, MASK.replace("<=", "<"))),
            also=tuple(
                _edited((MASK, MASK.replace("<=", "<")), *finite)
                for finite in (
                    [('float("-inf"), tl', "-1e30, tl")],
                    [('float("-inf")', "-1e30")],
                )
            ),
        ),
        Mistake(
            key="one key too many",
            diagnosis="The diagonal is off by one: query t sees key "
            "t + S - T + 1, which comes after it.",
            wrong=_edited(
                (MASK, f"({MASK} + 1) & (o_s < S)[None, :]"),
                (END, "tl.minimum(S, (i_t + 1) * BT + S - T + 1)"),
            ),
            also=(_edited((MASK, f"({MASK} + 1) & (o_s < S)[None, :]")),),
        ),
        Mistake(
            key="aligned to the start",
            diagnosis="Query t sees keys 0 to t. With S > T it sees S - T "
            "more: it is the end of the queries that meets the end of the "
            "keys.",
            wrong=_edited((MASK, MASK.replace(" + S - T", ""))),
            also=(
                _edited(
                    (MASK, MASK.replace(" + S - T", "")),
                    (END, "tl.minimum(S, (i_t + 1) * BT)"),
                ),
            ),
        ),
        Mistake(
            key="shift turned around",
            diagnosis="Query t sees S - T keys more than with as many keys "
            "as queries, not fewer: o_t + S - T, not T - S.",
            wrong=_edited(
                (MASK, f"({MASK.replace('S - T', 'T - S')}) & (o_s < S)")
            ),
            also=tuple(
                _edited((MASK, MASK.replace("S - T", "T - S")), *finite)
                for finite in ([], [('float("-inf"), tl', "-1e30, tl")])
            ),
        ),
        Mistake(
            key="stops too early",
            diagnosis="The loop over keys ends before the last key that this "
            "block of queries sees: (i_t + 1) * BT + S - T, or S if that is "
            "less.",
            wrong=_edited((END, "tl.minimum(S, (i_t + 1) * BT)")),
            also=(
                _edited((END, "tl.minimum(S, i_t * BT + S - T)")),
                _edited(
                    (END, "tl.minimum(S, i_t * BT + S - T + 1) // BS * BS")
                ),
                _edited((END, "tl.minimum(S, i_t * BT + S - T + 1)")),
                _edited((END, f"{END} // BS * BS")),
            ),
        ),
        Mistake(
            key="hidden blocks visited",
            diagnosis="The values are right, with more work than they need: "
            "for each block of queries the loop can end at the last key that "
            "its last query sees, (i_t + 1) * BT + S - T, or at S if that is "
            "less.",
            wrong=_edited((END, "S")),
            also=(_edited((END, "(i_t + 1) * BT + S - T")),),
        ),
        Mistake(
            key="no mask of rows",
            diagnosis="A block sticks out beyond the last row, and is read "
            "whole. Load q with the mask o_t < T, k and v with o_s < S. (A "
            "weight of 0 does not help: 0 times NaN is NaN.)",
            wrong=_edited(
                ("at_k, m_s, 0.0", "at_k"), ("at_v, m_s, 0.0", "at_v")
            ),
            also=(
                _edited(("at_q, m_t[:, None], 0.0", "at_q")),
                _edited(("at_v, m_s, 0.0", "at_v")),
            ),
        ),
        Mistake(
            key="padding undefined",
            diagnosis="tl.load has a mask, but no value for what the mask "
            "holds back: on a GPU that may be anything, here it is NaN, and a "
            "weight of 0 times NaN is NaN. Give 0.0.",
            wrong=_edited(("at_v, m_s, 0.0", "at_v, m_s")),
        ),
        Mistake(
            key="stored beyond the end",
            diagnosis="Rows beyond T are stored too. tl.store needs the mask "
            "o_t < T, for out and for lse.",
            wrong=_edited((", m_t[:, None])\n", ")\n")),
            also=(_edited(("tl.log2(b_sum), m_t)", "tl.log2(b_sum))")),),
        ),
        Mistake(
            key="wrong stride",
            diagnosis="Rows do not lie one width apart, nor do rows of q, k "
            "and v lie equally far apart. Each tensor has a stride of its "
            "own: q_t, k_s, v_s, out_t.",
            wrong=_edited(
                ("[:, None] * q_t", "[:, None] * D"),
                ("[:, None] * k_s", "[:, None] * D"),
                ("[:, None] * v_s", "[:, None] * DV"),
            ),
            also=(
                _edited(("[:, None] * k_s", "[:, None] * q_t")),
                _edited(("[:, None] * v_s", "[:, None] * k_s")),
                _edited(("[:, None] * out_t", "[:, None] * DV")),
                _edited(("[:, None] * out_t", "[:, None] * q_t")),
            ),
        ),
        Mistake(
            key="first head only",
            diagnosis="Every program reads head 0, or writes there. "
            "Program (n, i) takes head n: add i_n times the stride between "
            "heads, for q, k, v, out and lse.",
            wrong=_edited(
                ("i_n * q_n + ", ""),
                ("i_n * k_n + ", ""),
                ("i_n * v_n + ", ""),
            ),
            also=(
                _edited(("i_n * k_n + ", "")),
                _edited(("i_n * v_n + ", "")),
                _edited(("i_n, i_t", "i_m, i_t"), ("i_n * ", "0 * ")),
            ),
        ),
        Mistake(
            key="stride between heads",
            diagnosis="Head n begins n times a stride further, and each "
            "tensor has its own: q_n, k_n, v_n, out_n, lse_n. One of them is "
            "missing, or another's.",
            wrong=_edited(("i_n * v_n", "i_n * k_n")),
            also=(
                _edited(("i_n * k_n", "i_n * q_n")),
                _edited(("i_n * out_n", "i_n * q_n")),
                _edited(("i_n * lse_n", "i_n * T")),
                _edited(("i_n * lse_n + ", "")),
            ),
        ),
        Mistake(
            key="T for S",
            diagnosis="There are T queries and S keys. Rows of k and v are "
            "there where o_s < S.",
            wrong=_edited(("(o_s < S)[:, None]", "(o_s < T)[:, None]")),
            also=(
                _edited((LOAD_K, LOAD_K.replace("m_s", "(o_s < T)[:, None]"))),
                _edited((LOAD_V, LOAD_V.replace("m_s", "(o_s < T)[:, None]"))),
            ),
        ),
        Mistake(
            key="D for DV",
            diagnosis="Rows of v and out have DV numbers, those of q and k "
            "have D.",
            wrong=_edited(
                (
                    "o_d, o_v = tl.arange(0, D), tl.arange(0, DV)",
                    "o_d, o_v = tl.arange(0, D), tl.arange(0, D)",
                )
            ),
            also=(
                _edited(
                    ("tl.arange(0, DV)", "tl.arange(0, D)"),
                    ("[BT, DV]", "[BT, D]"),
                ),
                _edited(
                    ("tl.arange(0, DV)", "tl.arange(0, D)"),
                    (STEP, _inline(FACTOR, f"{FACTOR}[:, None]")),
                ),
            ),
        ),
        Mistake(
            key="not transposed",
            diagnosis="Scores are q times k', (BT, D) by (D, BS). b_k was "
            "loaded as (BS, D): multiply by b_k.T.",
            wrong=_edited(("b_k.T", "b_k")),
        ),
        Mistake(
            key="types differ",
            diagnosis="tl.dot gets weights in float32 and values in float16. "
            "It wants one type: b.to(b_v.dtype).",
            wrong=_edited(
                (
                    STEP,
                    _inline(FACTOR, f"{FACTOR}[:, None]").replace(
                        ".to(b_v.dtype)", ""
                    ),
                )
            ),
        ),
        Mistake(
            key="axes of the grid",
            diagnosis="The two program ids have changed places: "
            "tl.program_id(0) is the head, tl.program_id(1) the block of "
            "queries.",
            wrong=_edited(("i_n, i_t = ", "i_t, i_n = ")),
        ),
        Mistake(
            key="not scaled",
            diagnosis="The scores lack the factor c, which is the scale "
            "times log2(e): multiply q k' by it.",
            wrong=_edited(('"ieee") * c', '"ieee")')),
        ),
        Mistake(
            key="scaled twice",
            diagnosis="c holds both the scale and log2(e). Another factor "
            "makes the weights too sharp or too flat: q k' times c, no more.",
            wrong=_edited(('"ieee") * c', '"ieee") * c * 1.4426950408889634')),
            also=(_edited(('"ieee") * c', '"ieee") * c * D ** -0.5')),),
        ),
        Mistake(
            key="starts at zero",
            diagnosis="The maximum so far starts at 0, so a row whose scores "
            "are all far below never gets its own, and its weights vanish. "
            'Start below every number: float("-inf").',
            wrong=_edited(('float("-inf"), tl.float32', "0.0, tl.float32")),
        ),
        Mistake(
            key="maximum not rescaled",
            diagnosis="Sum and accumulator stay as they are when a row's "
            "maximum grows. Multiply both by 2 ** (old - new), or leave it to "
            "softmax_step.",
            wrong=_edited((STEP, _inline("1.0", "1.0"))),
        ),
        Mistake(
            key="no maximum",
            diagnosis="2 ** score is summed with nothing subtracted. Weights "
            "end at 2 ** 16 in float16 and 2 ** 128 in float32, and for a "
            "row of very low scores all of them are 0. Subtract the largest "
            "score so far, or leave it to softmax_step.",
            wrong=_edited((STEP, NO_MAXIMUM)),
            also=(
                _edited(
                    (
                        STEP,
                        NO_MAXIMUM.replace("tl.zeros", TOP + " + tl.zeros"),
                    ),
                    (LSE, "tl.log2(b_sum)"),
                ),
            ),
        ),
        Mistake(
            key="stale accumulator",
            diagnosis="The sum is rescaled and the accumulator is not: old "
            "values keep weights relative to an old maximum.",
            wrong=_edited((STEP, _inline(FACTOR, "1.0"))),
        ),
        Mistake(
            key="bases mixed",
            diagnosis="The scores are in base 2, because log2(e) is inside "
            "c. Weights of e ** score are too steep: tl.exp2, everywhere.",
            wrong=_edited(
                (
                    STEP,
                    _inline(
                        FACTOR.replace("exp2", "exp"),
                        FACTOR.replace("exp2", "exp") + "[:, None]",
                        "tl.exp",
                    ),
                )
            ),
            also=(
                _edited(
                    (STEP, _inline(FACTOR, FACTOR + "[:, None]", "tl.exp"))
                ),
            ),
        ),
        Mistake(
            key="begins anew in each block",
            diagnosis="What was gathered from earlier blocks is lost: "
            "b_acc, b_top and b_sum are set up before the loop, once.",
            wrong=_edited(
                (
                    STEP,
                    "softmax_step(b_acc * 0, b_top - float('inf'), "
                    "b_sum * 0, b_s, b_v)",
                )
            ),
        ),
        Mistake(
            key="not divided",
            diagnosis="out is the sum of weights times values. Divide each "
            "row by its b_sum, once, after the loop.",
            wrong=_edited(("b_acc / b_sum[:, None]", "b_acc")),
        ),
        Mistake(
            key="divided each time",
            diagnosis="The accumulator is divided by the sum in every step, "
            "so earlier keys are divided again and again. Divide once, after "
            "the loop.",
            wrong=_edited(
                (STEP, f"{STEP}\n        b_acc = b_acc / b_sum[:, None]")
            ),
            also=(
                _edited(
                    (STEP, f"{STEP}\n        b_acc = b_acc / b_sum[:, None]"),
                    ("b_acc / b_sum[:, None], m_t", "b_acc, m_t"),
                ),
            ),
        ),
        Mistake(
            key="logarithm forgotten",
            diagnosis="lse is a logarithm: b_top + tl.log2(b_sum), not the "
            "sum itself.",
            wrong=_edited((LSE, "b_top + b_sum")),
            also=(_edited((LSE, "b_sum")),),
        ),
        Mistake(
            key="log-sum without the maximum",
            diagnosis="lse is log2(b_sum), the sum relative to the maximum. "
            "Add b_top: log2 of 2 ** b_top * b_sum.",
            wrong=_edited((LSE, "tl.log2(b_sum)")),
        ),
        Mistake(
            key="log-sum in base e",
            diagnosis="lse is in base e, or half in it. b_top is in base 2, "
            "so it is b_top + tl.log2(b_sum).",
            wrong=_edited((LSE, "b_top + tl.log(b_sum)")),
            also=(
                _edited((LSE, f"({LSE}) / 1.4426950408889634")),
                _edited((LSE, f"({LSE}) * 1.4426950408889634")),
            ),
        ),
        Mistake(
            key="log-sum missing",
            diagnosis="out is right, and lse was never written. Store "
            "b_top + tl.log2(b_sum) at p_lse + i_n * lse_n + o_t.",
            wrong=_edited(
                (f"tl.store(p_lse + i_n * lse_n + o_t, {LSE}, m_t)", "pass")
            ),
        ),
        slip(
            "hidden by a number",
            "Hidden scores are set to a large negative number. A row whose "
            "visible scores are as low would look at hidden keys: put -inf "
            "there.",
            causal_kernel,
            ('b_s, float("-inf"))', "b_s, -1e4)"),
            ('b_s, float("-inf"))', "b_s, -1e9)"),
            ('b_s, float("-inf"))', "b_s, -1e3)"),
        ),
    ),
    hints=(
        "Start from walk and full_kernel. Each pointer moves on by i_n "
        "times its stride between heads. Then: where does the loop end, which "
        "scores are hidden, what is stored besides?",
        "The loop ends at tl.minimum(S, (i_t + 1) * BT + S - T). Inside, a "
        "score stays where o_s[None, :] <= o_t[:, None] + S - T; keys beyond "
        "S are hidden by that, but their loads still need o_s < S.",
        "b_s = tl.where(o_s[None, :] <= o_t[:, None] + S - T, b_s, "
        'float("-inf")) before softmax_step. After the loop: tl.store(p_lse '
        "+ i_n * lse_n + o_t, b_top + tl.log2(b_sum), m_t).",
    ),
)
