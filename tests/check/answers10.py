"""Chapter 10: right and wrong answers written another way than ours."""

import numpy as np

from minidiff.check.edited import edited
from minidiff.course.kernels.flash import softmax_step  # noqa: F401

import triton  # isort: skip
import triton.language as tl  # isort: skip


@triton.jit
def pow2(x):
    return tl.exp(x * 0.6931471805599453)


@triton.jit
def bits(x):
    return tl.log(x) / 0.6931471805599453


# 10.1: each lane keeps a sum of its own, and the lanes are merged last.
@triton.jit
def lanes(p_x, p_out, stride, S, BS: tl.constexpr):
    b_top = tl.full([BS], -1e30, tl.float32)
    b_sum = tl.zeros([BS], tl.float32)
    for i in range(tl.cdiv(S, BS)):
        o = i * BS + tl.arange(0, BS)
        b_x = tl.load(
            p_x + tl.program_id(0) * stride + o, mask=o < S, other=-1e30
        )
        b_x = tl.where(o < S, b_x, float("-inf"))
        b_new = tl.maximum(b_top, b_x)
        b_sum = b_sum * tl.exp2(b_top - b_new) + tl.exp2(b_x - b_new)
        b_top = b_new
    top = tl.max(b_top, 0)
    total = tl.sum(b_sum * tl.exp2(b_top - top), 0)
    tl.store(p_out + tl.program_id(0), top + tl.log2(total))


@triton.jit
def row_in_base_e(p_x, p_out, stride, S, BS: tl.constexpr):
    p_row = p_x + tl.program_id(0) * stride
    seen = 0.0
    high = float("-inf")
    start = 0
    while start < S:
        o = start + tl.arange(0, BS)
        b_x = tl.load(p_row + o, mask=o < S, other=0.0)
        b_x = tl.where(o < S, b_x, float("-inf"))
        best = tl.max(b_x, 0)
        before = high
        if best > high:
            high = best
        seen = seen * pow2(before - high)
        seen += tl.sum(pow2(b_x - high), 0)
        start += BS
    tl.store(p_out + tl.program_id(0), bits(seen) + high)


def row(*changes):
    return edited(row_in_base_e, *changes)


KEEP = ("seen = seen * pow2(before - high)", "pass")
LOG_SUM = {
    "sum not rescaled": row(KEEP),
    "rescaled the wrong way": row(
        ("seen * pow2(before - high)", "seen / pow2(before - high)")
    ),
    "new terms rescaled too": row(
        ("seen = seen * pow2(before - high)", "pass"),
        ("start += BS", "seen = seen * pow2(before - high)\n"
         "        start += BS"),
    ),
    "own maximum of each block": row(KEEP, ("b_x - high", "b_x - best")),
    "maximum of the block": row(
        ("if best > high:\n            high = best", "high = best")
    ),
    "no maximum": row(
        KEEP, ("b_x - high", "b_x"), ("bits(seen) + high", "bits(seen)")
    ),
    "starts at zero": row(('float("-inf")\n    start', "0.0\n    start")),
    "bases mixed": row(("pow2(b_x - high)", "tl.exp(b_x - high)")),
    "base e throughout": row(("pow2", "tl.exp"), ("bits", "tl.log")),
    "no mask": row((", mask=o < S, other=0.0", "")),
    "mask of the first block": row(("mask=o < S", "mask=o - start < S")),
    "padding undefined": row(
        (", other=0.0", ""),
        ('b_x = tl.where(o < S, b_x, float("-inf"))', "pass"),
    ),
    "padding counted": row(
        ('b_x = tl.where(o < S, b_x, float("-inf"))', "pass")
    ),
    "wrong stride": row(("* stride", "* S")),
    "same row for all": row(("p_x + tl.program_id(0) * stride", "p_x")),
    "first block only": row(("start += BS", "start += S + BS")),
    "maximum not added": row(("bits(seen) + high", "bits(seen)")),
    "logarithm forgotten": row(("bits(seen) + high", "seen + high")),
    "the same block in every round": edited(
        lanes, ("o = i * BS + tl.arange", "o = tl.arange")
    ),
    "earlier blocks dropped": edited(
        lanes, ("b_sum * tl.exp2(b_top - b_new) + ", "")
    ),
    "maximum alone": edited(
        lanes, ("top + tl.log2(total)", "top + 0 * total")
    ),
        "padding far below": row(("b_x, float(\"-inf\"))", "b_x, -1e4)")),
}  # fmt: skip


# 10.2: the product by hand, the bases by pow2.
@triton.jit
def step_by_hand(b_acc, b_top, b_sum, b_s, b_v):
    b_high = tl.max(b_s, axis=1)
    b_high = tl.where(b_high > b_top, b_high, b_top)
    b_old = pow2(b_top - b_high)
    b_w = pow2(b_s - tl.expand_dims(b_high, 1))
    b_v = b_v.to(tl.float32)
    b_new = tl.sum(b_w[:, :, None] * b_v[None, :, :], axis=1)
    b_acc = b_acc * tl.expand_dims(b_old, 1)
    b_all = tl.sum(b_w, axis=1)
    b_sum = b_sum * b_old
    return b_acc + b_new, b_high, b_sum + b_all


def stepped(*changes):
    return edited(step_by_hand, *changes)


OLD = "b_old = pow2(b_top - b_high)"
ROW = "b_acc = b_acc * tl.expand_dims(b_old, 1)"
SUM = "b_sum = b_sum * b_old"
PRODUCT = "tl.sum(b_w[:, :, None] * b_v[None, :, :], axis=1)"
STEP = {
    "maximum not rescaled": stepped((ROW, "pass"), (SUM, "pass")),
    "stale accumulator": stepped((ROW, "pass")),
    "sum not rescaled": stepped((SUM, "pass")),
    "rescaled the wrong way": stepped((OLD, "b_old = pow2(b_high - b_top)")),
    "new block rescaled too": stepped(
        (ROW, "b_acc = (b_acc + b_new) * tl.expand_dims(b_old, 1)"),
        (SUM, "b_sum = (b_sum + b_all) * b_old"),
        ("b_acc + b_new, b_high, b_sum + b_all", "b_acc, b_high, b_sum"),
    ),
    "maximum of the block": stepped(
        ("tl.where(b_high > b_top, b_high, b_top)", "b_high + 0")
    ),
    "no maximum": stepped(
        ("pow2(b_s - tl.expand_dims(b_high, 1))", "tl.exp2(b_s)"),
        (ROW, "pass"),
        (SUM, "pass"),
        ("b_v = ", "b_p = b_w.to(b_v.dtype).to(tl.float32)\n    b_v = "),
        ("b_w[:, :, None]", "b_p[:, :, None]"),
    ),
    "types differ": stepped(
        ("b_v = b_v.to(tl.float32)", "pass"), (PRODUCT, "tl.dot(b_w, b_v)")
    ),
    "shortened too early": stepped(
        ("b_w = pow2(b_s - tl.expand_dims(b_high, 1))",
         "b_w = tl.exp2(b_s - b_high[:, None]).to(b_v.dtype)"),
    ),
    "bases mixed": stepped((OLD, "b_old = tl.exp(b_top - b_high)")),
    "base e": stepped(("pow2", "tl.exp")),
    "wrong axis": stepped(("tl.max(b_s, axis=1)", "tl.max(b_s, axis=0)")),
    "factor along the wrong axis": stepped((ROW, "b_acc = b_acc * b_old")),
    "divided each time": stepped(
        (
            "return b_acc + b_new, b_high, b_sum + b_all",
            "b_sum += b_all\n"
            "    b_mean = (b_acc + b_new) / tl.expand_dims(b_sum, 1)\n"
            "    return b_mean, b_high, b_sum",
        )
    ),
    "old maximum returned": stepped(("b_new, b_high,", "b_new, b_top,")),
    "old accumulator dropped": stepped(("b_acc + b_new,", "b_new,")),
    "nothing returned": stepped(
        ("return b_acc + b_new, b_high, b_sum + b_all", "b_acc += b_new")
    ),
    "order": stepped(("b_high, b_sum + b_all", "b_sum + b_all, b_high")),
}  # fmt: skip


# 10.3: look at every pair.
def by_looking(
    i_t, T, S, BT, BS, shift=0, beyond=True, align=True, keys=None, every=all,
    some=any, cut=False,
):  # fmt: skip
    queries = [t for t in range(i_t * BT, i_t * BT + BT) if beyond or t < T]
    count = [0, 0, 0]
    total = S // BS if cut else -(-S // BS)
    for block in range(total):
        cells = [
            [
                s < S and s <= t + shift + (S - T if align else 0)
                for s in range(block * BS, block * BS + BS)
            ]
            for t in queries
        ]
        if every(all(r) for r in cells):
            count[0] += 1
        elif some(any(r) for r in cells):
            count[1] += 1
        else:
            count[2] += 1
    return tuple(count)


def first_of(cells):
    return next(iter(cells))


def last_of(cells):
    return list(cells)[-1]


def unclipped(i_t, T, S, BT, BS):
    seen = (i_t + 1) * BT + S - T
    whole = min(S, i_t * BT + S - T + 1) // BS
    visited = (seen + BS - 1) // BS
    return whole, visited - whole, (S + BS - 1) // BS - visited


def short_is_whole(i_t, T, S, BT, BS):
    whole, masked, skipped = by_looking(i_t, T, S, BT, BS)
    if masked and S % BS and i_t * BT + S - T + 1 >= S:
        return whole + 1, masked - 1, skipped
    return whole, masked, skipped


def short_missing(i_t, T, S, BT, BS):
    whole, masked, skipped = by_looking(i_t, T, S, BT, BS)
    return whole, masked, skipped - (1 if S % BS else 0)


def ceiling(i_t, T, S, BT, BS):
    whole, masked, skipped = by_looking(i_t, T, S, BT, BS)
    # The block that holds the first query's last key, if that ends inside.
    part = min(S, i_t * BT + S - T + 1) % BS > 0
    return whole + part, masked - part, skipped


def one_masked(i_t, T, S, BT, BS):
    whole, masked, skipped = by_looking(i_t, T, S, BT, BS)
    return whole, 1, skipped + masked - 1


def visited(i_t, T, S, BT, BS):
    skipped = by_looking(i_t, T, S, BT, BS)[2]
    return by_looking(i_t, T, S, BT, BS)[0], -(-S // BS) - skipped, skipped


EDGES = {
    "whole rounded up": ceiling,
    "always one masked": one_masked,
    "visited for masked": visited,
    "off by one": lambda *a: by_looking(*a, shift=-1),
    "aligned to the start": lambda *a: by_looking(*a, align=False),
    "whole for the last query": lambda *a: by_looking(*a, every=last_of),
    "skipped for the first query": lambda *a: by_looking(*a, some=first_of),
    "short block taken as whole": short_is_whole,
    "keys beyond S": unclipped,
    "short block forgotten": short_missing,
    "tiles exchanged": lambda i, T, S, BT, BS: by_looking(i, T, S, BS, BT),
    "keys, not blocks": lambda i, T, S, BT, BS: tuple(
        np.multiply(by_looking(i, T, S, BT, BS), BS)
    ),
    "order": lambda *a: by_looking(*a)[::-1],
    "place of the block left out": lambda i, *sizes: by_looking(0, *sizes),
    "T left out": lambda i, T, *sizes: by_looking(i, T, *sizes, shift=T),
    "every block skipped": lambda *a: (
        *by_looking(*a)[:2],
        sum(by_looking(*a)),
    ),
}


# 10.4: first the log-sums, then the weights; no accumulator is rescaled.
@triton.jit
def twice(
    p_q, p_k, p_v, p_out, p_lse,
    q_n, q_t, k_n, k_s, v_n, v_s, out_n, out_t, lse_n,
    T, S, c,
    D: tl.constexpr, DV: tl.constexpr, BT: tl.constexpr, BS: tl.constexpr,
):  # fmt: skip
    head = tl.program_id(0)
    o_t = tl.program_id(1) * BT + tl.arange(0, BT)
    o_d, o_v = tl.arange(0, D), tl.arange(0, DV)
    b_q = tl.load(
        p_q + head * q_n + o_t[:, None] * q_t + o_d, (o_t < T)[:, None], 0.0
    )
    b_high = tl.full([BT], -1e30, tl.float32)
    b_sum = tl.zeros([BT], tl.float32)
    b_out = tl.zeros([BT, DV], tl.float32)
    last = (tl.program_id(1) + 1) * BT + S - T
    for turn in range(3):
        for i in range(tl.cdiv(tl.minimum(S, last), BS)):
            o_s = i * BS + tl.arange(0, BS)
            b_k = tl.load(
                p_k + head * k_n + o_s[None, :] * k_s + o_d[:, None],
                (o_s < S)[None, :],
                0.0,
            )
            b_s = c * tl.dot(b_q, b_k, input_precision="ieee")
            gap = o_t[:, None] - o_s[None, :]
            b_s = tl.where((gap >= T - S) & (o_s < S), b_s, float("-inf"))
            if turn == 0:
                b_high = tl.maximum(b_high, tl.max(b_s, 1))
            b_w = pow2(b_s - b_high[:, None])
            if turn == 1:
                b_sum += tl.sum(b_w, 1)
            if turn == 2:
                b_v = tl.load(
                    p_v + head * v_n + o_s[:, None] * v_s + o_v,
                    (o_s < S)[:, None],
                    0.0,
                )
                b_w = (b_w / b_sum[:, None]).to(b_v.dtype)
                b_out += tl.dot(b_w, b_v, input_precision="ieee")
    p = p_out + head * out_n + o_t[:, None] * out_t + o_v
    tl.store(p, b_out, (o_t < T)[:, None])
    tl.store(p_lse + head * lse_n + o_t, bits(b_sum) + b_high, o_t < T)


# One running softmax, its step written out in base e.
@triton.jit
def running(
    p_q, p_k, p_v, p_out, p_lse,
    q_n, q_t, k_n, k_s, v_n, v_s, out_n, out_t, lse_n,
    T, S, c,
    D: tl.constexpr, DV: tl.constexpr, BT: tl.constexpr, BS: tl.constexpr,
):  # fmt: skip
    head = tl.program_id(0)
    first = tl.program_id(1) * BT
    o_t = first + tl.arange(0, BT)
    o_d, o_v = tl.arange(0, D), tl.arange(0, DV)
    m_t = (o_t < T)[:, None]
    at_q = head * q_n + o_t[:, None] * q_t + o_d
    b_q = tl.load(p_q + at_q, mask=m_t, other=0.0)
    b_acc = tl.zeros([BT, DV], tl.float32)
    b_high = tl.full([BT], -1e30, tl.float32)
    b_sum = tl.zeros([BT], tl.float32)
    last = first + BT + S - T
    for i in range(tl.cdiv(tl.minimum(S, last), BS)):
        o_s = i * BS + tl.arange(0, BS)
        m_s = (o_s < S)[:, None]
        at_k = head * k_n + o_s[:, None] * k_s + o_d
        at_v = head * v_n + o_s[:, None] * v_s + o_v
        b_k = tl.load(p_k + at_k, mask=m_s, other=0.0)
        b_v = tl.load(p_v + at_v, mask=m_s, other=0.0)
        b_s = c * tl.dot(b_q, tl.trans(b_k), input_precision="ieee")
        gap = o_t[:, None] - o_s[None, :]
        m_seen = (gap >= T - S) & (o_s < S)[None, :]
        b_s = tl.where(m_seen, b_s, -1e30)
        b_new = tl.maximum(b_high, tl.max(b_s, 1))
        b_w = pow2(b_s - b_new[:, None])
        b_old = pow2(b_high - b_new)
        b_sum = b_sum * b_old + tl.sum(b_w, 1)
        b_acc = b_acc * b_old[:, None]
        b_acc += tl.dot(b_w.to(b_v.dtype), b_v, input_precision="ieee")
        b_high = b_new
    b_lse = bits(b_sum) + b_high
    b_acc = b_acc / b_sum[:, None]
    at_out = head * out_n + o_t[:, None] * out_t + o_v
    tl.store(p_out + at_out, b_acc, mask=m_t)
    tl.store(p_lse + head * lse_n + o_t, b_lse, mask=o_t < T)


def ran(*changes):
    return edited(running, *changes)


GAP = "gap >= T - S"
LAST = "last = first + BT + S - T"
LSE = "bits(b_sum) + b_high"
HIDDEN = ("b_s, -1e30", "b_s, float('-inf')")
CAUSAL = {
    "no causal mask": ran((f"({GAP}) & ", "(gap == gap) & ")),
    "hidden by 0": ran(("tl.where(m_seen, b_s, -1e30)", "b_s * m_seen")),
    "places inside the block": ran(
        ("gap = o_t[:, None] -", "gap = tl.arange(0, BT)[:, None] -")
    ),
    "mask left out too early": ran(
        (
            "(o_s < S)[None, :]\n",
            "(o_s < S)[None, :]\n        m_seen |= (i + 1) * BS <= last\n",
        )
    ),
    "own key hidden": ran((GAP, "gap > T - S")),
    "one key too many": ran((GAP, f"{GAP} - 1"), (LAST, f"{LAST} + 1")),
    "aligned to the start": ran((GAP, "gap >= 0")),
    "shift turned around": ran(
        (GAP, "gap >= S - T"), ("b_s, -1e30", "b_s, float('-inf')")
    ),
    "stops too early": ran((LAST, "last = first + BT")),
    "hidden blocks visited": ran((LAST, "last = S")),
    "no mask of rows": ran((", mask=m_s, other=0.0", "")),
    "padding undefined": ran(("at_v, mask=m_s, other=0.0", "at_v, mask=m_s")),
    "stored beyond the end": ran(("b_acc, mask=m_t", "b_acc")),
    "wrong stride": ran(("[:, None] * k_s", "[:, None] * q_t")),
    "first head only": ran(("head = tl.program_id(0)", "head = 0")),
    "stride between heads": ran(("head * v_n", "head * q_n")),
    "T for S": ran(("m_s = (o_s < S)", "m_s = (o_s < T)")),
    "D for DV": ran(("tl.arange(0, DV)", "tl.arange(0, D)")),
    "not transposed": ran(("tl.trans(b_k)", "b_k")),
    "types differ": ran((".to(b_v.dtype)", "")),
    "scaled twice": ran(("c * tl.dot", "c / 0.6931471805599453 * tl.dot")),
    "starts at zero": ran(("[BT], -1e30, tl", "[BT], 0, tl")),
    "divided each time": ran(
        (
            "b_high = b_new\n",
            "b_high = b_new\n"
            "        b_acc = b_acc / tl.expand_dims(b_sum, 1)\n",
        ),
    ),
    "logarithm forgotten": ran((LSE, "b_high + b_sum")),
    "axes of the grid": ran(
        ("head = tl.program_id(0)", "head = tl.program_id(1)"),
        ("first = tl.program_id(1)", "first = tl.program_id(0)"),
    ),
    "not scaled": ran(("c * tl.dot", "tl.dot")),
    "maximum not rescaled": ran(
        ("b_sum * b_old", "b_sum"), ("b_acc = b_acc * b_old[:, None]", "pass")
    ),
    "no maximum": ran(
        ("pow2(b_s - b_new[:, None])", "pow2(b_s)"),
        ("b_old = pow2(b_high - b_new)", "b_old = b_high * 0 + 1"),
        (LSE, "bits(b_sum)"),
    ),
    "stale accumulator": ran(("b_acc = b_acc * b_old[:, None]", "pass")),
    "bases mixed": ran(("pow2", "tl.exp"), ("bits", "tl.log2")),
    "begins anew in each block": ran(
        ("b_sum * b_old", "0"),
        ("b_acc * b_old[:, None]", "b_acc * 0"),
        ("tl.maximum(b_high, tl.max(b_s, 1))", "tl.max(b_s, 1)"),
        HIDDEN,
    ),
    "not divided": ran(("b_acc = b_acc / b_sum[:, None]", "pass")),
    "log-sum without the maximum": ran((LSE, "bits(b_sum)")),
    "log-sum in base e": ran((LSE, "tl.log(b_sum) + b_high")),
    "log-sum missing": ran(
        ("tl.store(p_lse + head * lse_n + o_t, b_lse, mask=o_t < T)", "pass")
    ),
    "hidden by a number": edited(twice, ('b_s, float("-inf"))', "b_s, -1e4)")),
}


RIGHT = {
    "10.1": lanes,
    "10.2": step_by_hand,
    "10.3": by_looking,
    "10.4": twice,
}

WRONG = {
    "10.1": LOG_SUM,
    "10.2": STEP,
    "10.3": EDGES,
    "10.4": CAUSAL,
}
