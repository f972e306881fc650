"""Chapter 11: right and wrong answers written another way than ours."""

import torch

from minidiff.check.edited import edited
from minidiff.course.kernels.flash import softmax_step

import triton  # isort: skip
import triton.language as tl  # isort: skip


@triton.jit
def rows_of(p, o_r, step, n, W: tl.constexpr):
    o_w = tl.arange(0, W)
    return tl.load(p + (o_r * step)[:, None] + o_w, (o_r < n)[:, None], 0.0)


@triton.jit
def scores(b_q, b_k, c, seen):
    b_s = tl.dot(b_q, tl.trans(b_k), input_precision="ieee")
    return tl.where(seen, b_s * c, float("-inf"))


@triton.jit
def in_turn(
    p_q, p_k, p_v, p_acc, p_sum, q_j, q_t, k_j, k_s, v_s, acc_j, acc_t,
    sum_j, T, S, c,
    D: tl.constexpr, DV: tl.constexpr, BT: tl.constexpr, BS: tl.constexpr,
):  # fmt: skip
    """Branch after branch; each looks for its maximum first."""
    first = tl.program_id(0) * BT
    o_t = first + tl.arange(0, BT)
    last = tl.minimum(S, first + BT + S - T)
    for j in range(2):
        b_q = rows_of(p_q + j * q_j, o_t, q_t, T, D)
        b_top = tl.full([BT], -1e30, tl.float32)
        for i_s in range(0, last, BS):
            o_s = i_s + tl.arange(0, BS)
            b_k = rows_of(p_k + j * k_j, o_s, k_s, S, D)
            b_s = c * tl.dot(b_q, tl.trans(b_k), input_precision="ieee")
            hidden = o_s[None, :] - o_t[:, None] > S - T
            b_s = tl.where(hidden, -1e30, b_s)
            b_top = tl.maximum(b_top, tl.max(b_s, 1))
        b_acc = tl.zeros([BT, DV], tl.float32)
        b_sum = tl.zeros([BT], tl.float32)
        for i_s in range(0, last, BS):
            o_s = i_s + tl.arange(0, BS)
            b_k = rows_of(p_k + j * k_j, o_s, k_s, S, D)
            b_v = rows_of(p_v, o_s, v_s, S, DV)
            b_s = c * tl.dot(b_q, tl.trans(b_k), input_precision="ieee")
            hidden = o_s[None, :] - o_t[:, None] > S - T
            b_p = tl.where(hidden, 0.0, tl.exp2(b_s - b_top[:, None]))
            b_sum += tl.sum(b_p, 1)
            b_acc += tl.dot(b_p, b_v, input_precision="ieee")
        o_v = tl.arange(0, DV)
        m = o_t < T
        p_row = p_acc + j * acc_j + (o_t * acc_t)[:, None] + o_v[None, :]
        tl.store(p_row, b_acc, m[:, None])
        tl.store(p_sum + j * sum_j + o_t, b_sum, m)


@triton.jit
def both_by_steps(
    p_q, p_k, p_v, p_acc, p_sum, q_j, q_t, k_j, k_s, v_s, acc_j, acc_t,
    sum_j, T, S, c,
    D: tl.constexpr, DV: tl.constexpr, BT: tl.constexpr, BS: tl.constexpr,
):  # fmt: skip
    """The walk, with names for what the wrong answers mix up."""
    o_t = tl.program_id(0) * BT + tl.arange(0, BT)
    b_qa = rows_of(p_q, o_t, q_t, T, D)
    b_qb = rows_of(p_q + q_j, o_t, q_t, T, D)
    acc_a = tl.zeros([BT, DV], tl.float32)
    acc_b = acc_a
    top_a = tl.full([BT], float("-inf"), tl.float32)
    top_b = top_a
    sum_a = tl.zeros([BT], tl.float32)
    sum_b = sum_a
    for i in range(tl.cdiv(S, BS)):
        o_s = i * BS + tl.arange(0, BS)
        b_ka = rows_of(p_k, o_s, k_s, S, D)
        b_kb = rows_of(p_k + k_j, o_s, k_s, S, D)
        b_v = rows_of(p_v, o_s, v_s, S, DV)
        seen = o_s[None, :] <= (S - T + o_t)[:, None]
        s_a = scores(b_qa, b_ka, c, seen)
        s_b = scores(b_qb, b_kb, c, seen)
        acc_a, top_a, sum_a = softmax_step(acc_a, top_a, sum_a, s_a, b_v)
        acc_b, top_b, sum_b = softmax_step(acc_b, top_b, sum_b, s_b, b_v)
    p_row = p_acc + (o_t * acc_t)[:, None] + tl.arange(0, DV)[None, :]
    tl.store(p_row, acc_a, (o_t < T)[:, None])
    tl.store(p_row + acc_j, acc_b, (o_t < T)[:, None])
    tl.store(p_sum + o_t, sum_a, o_t < T)
    tl.store(p_sum + sum_j + o_t, sum_b, o_t < T)


@triton.jit
def one_mixed(
    p_q, p_k, p_v, p_acc, p_sum, q_j, q_t, k_j, k_s, v_s, acc_j, acc_t,
    sum_j, T, S, c,
    D: tl.constexpr, DV: tl.constexpr, BT: tl.constexpr, BS: tl.constexpr,
):  # fmt: skip
    """One accumulator, written to both places."""
    o_t = tl.program_id(0) * BT + tl.arange(0, BT)
    acc = tl.zeros([BT, DV], tl.float32)
    top_a = tl.full([BT], float("-inf"), tl.float32)
    top_b = top_a
    sum_a = tl.zeros([BT], tl.float32)
    sum_b = sum_a
    for i in range(tl.cdiv(S, BS)):
        o_s = i * BS + tl.arange(0, BS)
        b_v = rows_of(p_v, o_s, v_s, S, DV)
        seen = o_s[None, :] <= (S - T + o_t)[:, None]
        b_q = rows_of(p_q, o_t, q_t, T, D)
        s_a = scores(b_q, rows_of(p_k, o_s, k_s, S, D), c, seen)
        acc, top_a, sum_a = softmax_step(acc, top_a, sum_a, s_a, b_v)
        b_q = rows_of(p_q + q_j, o_t, q_t, T, D)
        s_b = scores(b_q, rows_of(p_k + k_j, o_s, k_s, S, D), c, seen)
        acc, top_b, sum_b = softmax_step(acc, top_b, sum_b, s_b, b_v)
    p_row = p_acc + (o_t * acc_t)[:, None] + tl.arange(0, DV)[None, :]
    tl.store(p_row, acc, (o_t < T)[:, None])
    tl.store(p_row + acc_j, acc, (o_t < T)[:, None])
    tl.store(p_sum + o_t, sum_a, o_t < T)
    tl.store(p_sum + sum_j + o_t, sum_b, o_t < T)


def shared(BT, BS, Dv, warps, together, *, accs=None, blocks=1, threads=32):
    """Add up what lies in registers, then share it out."""
    numbers = blocks * BT * BS
    for _ in range((1 + together) if accs is None else accs):
        numbers += BT * Dv
    return int(numbers / warps / threads)


@triton.jit
def by_columns(
    p_acc, p_sum, p_weight, p_y, acc_j, acc_t, sum_j, y_t, T, lam,
    norm_scale, eps, DV: tl.constexpr, BT: tl.constexpr,
):  # fmt: skip
    """Both branches in one block of three axes; divide by a root."""
    o_j = tl.arange(0, 2)
    o_t = tl.program_id(0) * BT + tl.arange(0, BT)
    o_v = tl.arange(0, DV)
    rows = o_t < T
    at = (o_j * acc_j)[:, None, None] + (o_t * acc_t)[None, :, None]
    m = (o_j < 2)[:, None, None] & rows[None, :, None]
    acc = tl.load(p_acc + at + o_v[None, None, :], m, 0.0)
    at_sum = (o_j * sum_j)[:, None] + o_t[None, :]
    total = tl.load(p_sum + at_sum, (o_j < 2)[:, None] & rows[None, :], 1.0)
    out = acc / total[:, :, None]
    factor = tl.where(o_j == 0, 1.0, -lam)
    o = tl.sum(out * factor[:, None, None], 0)
    square = tl.sum(o * o, 1) / DV
    root = tl.sqrt(square + eps)
    y = o / root[:, None] * norm_scale
    y = y * tl.load(p_weight + o_v)[None, :]
    p_out = p_y + (o_t * y_t)[:, None] + o_v[None, :]
    tl.store(p_out, y, rows[:, None])


def over_heads(s1, s2, lse1, lse2, lam, v, base=2.0, keep=(1, 1)):
    """Branches stacked, signs by a factor, one einsum."""
    s = torch.stack([s1, s2])
    lse = torch.stack([lse1 * keep[0], lse2 * keep[1]]).unsqueeze(-1)
    A = torch.full_like(s, base).pow(s - lse)
    A = A * torch.tensor([1.0, -lam]).to(A).view(2, 1, 1)
    return torch.einsum("jts,sd->td", A, v)


def both_times(s1, s2, lse1, lse2, lam, v):
    A1, A2 = ((s - lse.unsqueeze(-1)).exp2() for s, lse in
              ((s1, lse1), (s2, lse2)))  # fmt: skip
    return (lam * A1 - lam * A2) @ v


def over_log(s1, s2, lse1, lse2, lam, v):
    parts = [(2**s).div(x.unsqueeze(-1)) for s, x in ((s1, lse1), (s2, lse2))]
    return parts[0] @ v - lam * (parts[1] @ v)


def exponent(s1, s2, lse1, lse2, lam, v):
    shift = lse1 - lam * lse2
    return 2 ** (s1 - lam * s2 - shift.unsqueeze(1)) @ v


def keys_axis(s1, s2, lse1, lse2, lam, v):
    return (2 ** (s1 - lse1[None]) - lam * 2 ** (s2 - lse2[None])) @ v


RIGHT = {
    "11.1": in_turn,
    "11.2": shared,
    "11.3": by_columns,
    "11.4": over_heads,
}

AGAIN = """\
        acc_a, sum_a = acc_a * 0.0, sum_a * 0.0
        acc_b, sum_b = acc_b * 0.0, sum_b * 0.0
        top_a = tl.zeros([BT], tl.float32) - float("inf")
        top_b = top_a
        o_s = i * BS"""

WRONG = {
    "11.1": {
        "one accumulator": one_mixed,
        "one running state": edited(
            both_by_steps,
            ("acc_b, top_b, sum_b", "acc_b, top_a, sum_a"),
            ("sum_j + o_t, sum_b", "sum_j + o_t, sum_a"),
        ),
        "common maximum": edited(
            both_by_steps,
            (
                "        acc_a, top_a, sum_a = softmax_step(acc_a, top_a, "
                "sum_a, s_a, b_v)\n"
                "        acc_b, top_b, sum_b = softmax_step(acc_b, top_b, "
                "sum_b, s_b, b_v)\n",
                "        high = tl.maximum(tl.max(s_a, 1), tl.max(s_b, 1))\n"
                "        high = tl.maximum(high, top_a)\n"
                "        less = tl.exp2(top_a - high)\n"
                "        p_a = tl.exp2(s_a - high[:, None])\n"
                "        p_b = tl.exp2(s_b - high[:, None])\n"
                "        sum_a = less * sum_a + tl.sum(p_a, 1)\n"
                "        sum_b = less * sum_b + tl.sum(p_b, 1)\n"
                "        acc_a = less[:, None] * acc_a + tl.dot(p_a, b_v)\n"
                "        acc_b = less[:, None] * acc_b + tl.dot(p_b, b_v)\n"
                "        top_a = high\n",
            ),
        ),
        "keys of branch 1 twice": edited(in_turn, ("p_k + j * k_j", "p_k")),
        "queries of branch 1 twice": edited(in_turn, ("p_q + j * q_j", "p_q")),
        "aligned to the start": edited(in_turn, ("> S - T", "> 0")),
        "diagonal hidden": edited(both_by_steps, ("<= (S", "< (S")),
        "mask without an axis": edited(
            both_by_steps, ("(S - T + o_t)[:, None]", "(S - T + o_t)[None, :]")
        ),
        "no mask of what is seen": edited(
            both_by_steps,
            ("o_s[None, :] <= (S - T + o_t)[:, None]", "o_s[None, :] < S"),
        ),
        "hidden scores are 0": edited(
            in_turn,
            ("tl.where(hidden, -1e30, b_s)", "tl.where(hidden, 0.0, b_s)"),
            (
                "tl.where(hidden, 0.0, tl.exp2(b_s - b_top[:, None]))",
                "tl.exp2(tl.where(hidden, 0.0, b_s) - b_top[:, None])",
            ),
            ("last = tl.minimum(S, first + BT + S - T)", "last = S"),
        ),
        "hidden by a number": edited(
            in_turn,
            ("tl.where(hidden, -1e30, b_s)", "tl.where(hidden, -1e4, b_s)"),
            (
                "tl.where(hidden, 0.0, tl.exp2(b_s - b_top[:, None]))",
                "tl.exp2(tl.where(hidden, -1e4, b_s) - b_top[:, None])",
            ),
        ),
        "scores without their scale": edited(
            in_turn, ("c * tl.dot", "tl.dot")
        ),
        "starts again at each block": edited(
            both_by_steps,
            ("        o_s = i * BS", AGAIN),
        ),
        "loop ends at the diagonal": edited(
            both_by_steps, ("tl.cdiv(S, BS)", "tl.program_id(0) * BT // BS")
        ),
        "loop ends too early": edited(
            in_turn, ("first + BT + S - T", "first + BT")
        ),
        "steps of BT": edited(
            both_by_steps,
            ("tl.cdiv(S, BS)", "tl.cdiv(S, BT)"),
            ("i * BS +", "i * BT +"),
        ),
        "no other for the values": edited(
            both_by_steps,
            (
                "b_v = rows_of(p_v, o_s, v_s, S, DV)",
                "at_v = (o_s * v_s)[:, None] + tl.arange(0, DV)[None, :]\n"
                "        b_v = tl.load(p_v + at_v, (o_s < S)[:, None])",
            ),
        ),
        "queries read beyond the end": edited(
            both_by_steps, ("q_t, T, D", "q_t, T + BT, D")
        ),
        "keys read beyond the end": edited(
            both_by_steps,
            ("k_s, S, D", "k_s, S + BS, D"),
            ("v_s, S, DV", "v_s, S + BS, DV"),
        ),
        "rows written beyond the end": edited(
            both_by_steps, ("< T", "< BT * S")
        ),
        "stride of another tensor": edited(
            both_by_steps, ("o_s, k_s", "o_s, q_t")
        ),
        "both written to branch 1": edited(
            in_turn, ("+ j * acc_j", ""), ("+ j * sum_j", "")
        ),
        "written as if contiguous": edited(
            both_by_steps, ("(o_t * acc_t)[:, None]", "(o_t * DV)[:, None]")
        ),
        "branch 2 not written": edited(
            in_turn, ("tl.store(", "if j == 0:\n            tl.store(")
        ),
        "sums not written": edited(
            in_turn, ("tl.store(p_sum + j * sum_j + o_t, b_sum, m)", "")
        ),
        "branch 1 written twice": edited(
            both_by_steps, ("acc_j, acc_b", "acc_j, acc_a")
        ),
        "log-sums for sums": edited(
            in_turn, ("o_t, b_sum, m)", "o_t, tl.log2(b_sum) + b_top, m)")
        ),
        "divided already": edited(
            in_turn, ("p_row, b_acc", "p_row, b_acc / b_sum[:, None]")
        ),
    },
    "11.2": {
        "per warp": lambda *a: shared(*a, threads=1),
        "per program": lambda *a: shared(*a, threads=1 / a[3]),
        "scores left out": lambda *a: shared(*a, blocks=0),
        "scores twice": lambda *a: shared(*a, blocks=1 + a[4]),
        "one accumulator": lambda *a: shared(*a, accs=1),
        "the other way round": lambda *a: shared(*a[:4], not a[4]),
        "always two accumulators": lambda *a: shared(*a, accs=2),
        "bytes": lambda *a: shared(*a) * 4,
    },
    "11.3": {
        "sums not used": edited(
            by_columns, ("acc / total[:, :, None]", "acc")
        ),
        "one sum for both": edited(
            by_columns, ("(o_j * sum_j)[:, None]", "(o_j * 0)[:, None]")
        ),
        "lambda on both": edited(by_columns, ("== 0, 1.0", "== 0, lam")),
        "lambda dropped": edited(by_columns, ("1.0, -lam", "1.0, -1.0")),
        "branches swapped": edited(
            by_columns, ("o_j == 0, 1.0, -lam", "o_j == 1, 1.0, -lam")
        ),
        "branches added": edited(by_columns, ("1.0, -lam", "1.0, lam")),
        "sum, not mean": edited(by_columns, ("o * o, 1) / DV", "o * o, 1)")),
        "mean over the queries": edited(
            by_columns,
            ("o * o, 1) / DV", "o * o, 0) / BT"),
            ("root[:, None]", "root[None, :]"),
        ),
        "norm of each branch": edited(
            by_columns,
            (
                "    factor = ",
                "    each = tl.sqrt(tl.sum(out * out, 2) / DV + eps)\n"
                "    out = out / each[:, :, None]\n"
                "    factor = ",
            ),
            ("o / root[:, None] *", "o *"),
        ),
        "no norm": edited(by_columns, ("o / root[:, None] *", "o *")),
        "accumulator of branch 1 twice": edited(
            by_columns, ("(o_j * acc_j)", "(o_j * 0)")
        ),
        "stride of another tensor": edited(
            by_columns, ("(o_t * y_t)", "(o_t * acc_t)")
        ),
        "no root": edited(
            by_columns, ("tl.sqrt(square + eps)", "square + eps")
        ),
        "eps outside the root": edited(
            by_columns, ("tl.sqrt(square + eps)", "tl.sqrt(square) + eps")
        ),
        "eps left out": edited(by_columns, ("square + eps", "square")),
        "weight left out": edited(
            by_columns, ("y = y * tl.load(p_weight + o_v)[None, :]", "")
        ),
        "scale left out": edited(by_columns, (" * norm_scale", "")),
        "rows beyond the end": edited(by_columns, ("o_t < T", "o_t < T + BT")),
    },
    "11.4": {
        "base e": lambda *a: over_heads(*a, base=torch.e),
        "divided by the log": over_log,
        "not normalised": lambda *a: over_heads(*a, keep=(0, 0)),
        "one log-sum for both": lambda s1, s2, lse1, lse2, lam, v: over_heads(
            s1, s2, lse1, lse1, lam, v
        ),
        "lambda on both": both_times,
        "lambda dropped": lambda s1, s2, lse1, lse2, lam, v: over_heads(
            s1, s2, lse1, lse2, 1.0, v
        ),
        "subtracted in the exponent": exponent,
        "two products": lambda s1, s2, lse1, lse2, lam, v: (
            (s1 - lse1.unsqueeze(1)).exp2() @ v
        ).sub((2 ** (s2 - lse2.unsqueeze(1))) @ v, alpha=lam),
        "columns": keys_axis,
    },
}
