"""Problem set 3: right and wrong answers written another way than ours."""

from math import ceil

from minidiff.check.edited import edited

import triton  # isort: skip
import triton.language as tl  # isort: skip


# P3.1 and P3.4 -----------------------------------------------------------


@triton.jit
def in_turn(
    p_q, p_k, p_v, p_part, p_lse, q_n, q_j, q_g, k_n, k_j, k_s, v_n, v_s,
    part_n, part_i, part_j, part_g, lse_n, lse_i, lse_j, G, S, split, c,
    D: tl.constexpr, DV: tl.constexpr, ROWS: tl.constexpr, BS: tl.constexpr,
):  # fmt: skip
    """Branch after branch; weights are measured from the log-sum so far."""
    n, i = tl.program_id(0), tl.program_id(1)
    row, d, e = tl.arange(0, ROWS), tl.arange(0, D), tl.arange(0, DV)
    first = split * i
    last = tl.minimum(split * (i + 1), S)
    for j in range(2):
        p_query = p_q + n * q_n + j * q_j + row[:, None] * q_g + d[None, :]
        b_q = tl.load(p_query, row[:, None] < G, 0.0)
        out = tl.zeros([ROWS, DV], tl.float32)
        lse = tl.zeros([ROWS], tl.float32) - 1e30
        for block in range(tl.cdiv(last - first, BS)):
            key = first + block * BS + tl.arange(0, BS)
            there = key < last
            p_key = p_k + n * k_n + j * k_j + key[None, :] * k_s + d[:, None]
            b_k = tl.load(p_key, there[None, :], 0.0)
            p_value = p_v + n * v_n + key[:, None] * v_s + e[None, :]
            b_v = tl.load(p_value, there[:, None], 0.0)
            score = c * tl.dot(b_q, b_k, input_precision="ieee")
            score = tl.where(there[None, :], score, -1e30)
            top = tl.maximum(tl.max(score, 1), lse)
            new = tl.sum(tl.exp2(score - top[:, None]), 1)
            new = top + tl.log2(tl.exp2(lse - top) + new)
            weight = tl.exp2(score - new[:, None])
            out = out * tl.exp2(lse - new)[:, None]
            out += tl.dot(weight, b_v, input_precision="ieee")
            lse = new
        p_out = p_part + n * part_n + i * part_i + j * part_j
        p_out = p_out + row[:, None] * part_g + e[None, :]
        tl.store(p_out, out, row[:, None] < G)
        tl.store(p_lse + n * lse_n + i * lse_i + j * lse_j + row, lse, row < G)


NO_KEYS = """\
        p_out = p_part + n * part_n + i * part_i + j * part_j
        lse = tl.where(lse < -1e29, float("-inf"), lse)
"""

window = edited(
    in_turn,
    ("p_q, p_k, p_v, p_part", "p_q, p_k, p_v, p_lengths, p_part"),
    ("G, S, split", "G, W, split"),
    ("    first = split * i\n", ""),
    (
        "last = tl.minimum(split * (i + 1), S)",
        "length = tl.load(p_lengths + n)\n"
        "    oldest = tl.where(length > W, length - W, 0)\n"
        "    first = tl.minimum(oldest + split * i, length)\n"
        "    last = tl.where(first + split < length, first + split, length)",
    ),
    (NO_KEYS.splitlines(True)[0], NO_KEYS),
)
OLDEST = "tl.where(length > W, length - W, 0)"
LAST = "tl.where(first + split < length, first + split, length)"


# P3.2 --------------------------------------------------------------------


@triton.jit
def one_by_one(
    p_part, p_lse, p_lam, p_y, part_n, part_i, part_j, part_g,
    lse_n, lse_i, lse_j, lam_n, y_n, y_g, n_split,
    DV: tl.constexpr, SPLITS: tl.constexpr,
):  # fmt: skip
    """Split after split, as equation 10.1; SPLITS is not needed."""
    n, g = tl.program_id(0), tl.program_id(1)
    at = tl.arange(0, DV)
    lam = tl.load(p_lam + n * lam_n + g)
    y = tl.zeros([DV], tl.float32)
    for j in range(2):
        out = tl.zeros([DV], tl.float32)
        top = -1e30
        total = 0.0
        for i in range(n_split):
            lse = tl.load(p_lse + n * lse_n + i * lse_i + j * lse_j + g)
            row = p_part + n * part_n + i * part_i + j * part_j + g * part_g
            new = tl.maximum(top, lse)
            old, share = tl.exp2(top - new), tl.exp2(lse - new)
            total = total * old + share
            out = out * old + share * tl.load(row + at)
            top = new
        factor = tl.where(j == 0, 1.0, -lam)
        y += factor * out / total
    tl.store(p_y + n * y_n + g * y_g + at, y)


@triton.jit
def all_at_once(
    p_part, p_lse, p_lam, p_y, part_n, part_i, part_j, part_g,
    lse_n, lse_i, lse_j, lam_n, y_n, y_g, n_split,
    DV: tl.constexpr, SPLITS: tl.constexpr,
):  # fmt: skip
    """Both branches in one block of three axes."""
    n, g = tl.program_id(0), tl.program_id(1)
    o_j, o_i, o_v = tl.arange(0, 2), tl.arange(0, SPLITS), tl.arange(0, DV)
    there = (o_j < 2)[:, None] & (o_i < n_split)[None, :]
    at = n * lse_n + o_j[:, None] * lse_j + o_i[None, :] * lse_i + g
    lse = tl.load(p_lse + at, there, float("-inf"))
    share = tl.exp2(lse - tl.max(lse, 1)[:, None])
    share = share / tl.sum(share, 1)[:, None]
    at = n * part_n + o_j[:, None] * part_j + o_i[None, :] * part_i
    at = (at + g * part_g)[:, :, None] + o_v[None, None, :]
    part = tl.load(p_part + at, there[:, :, None], 0.0)
    out = tl.sum(share[:, :, None] * part, 1)
    lam = tl.load(p_lam + n * lam_n + g)
    out = out * tl.where(o_j == 0, 1.0, -lam)[:, None]
    tl.store(p_y + n * y_n + g * y_g + o_v, tl.sum(out, 0))


@triton.jit
def subtracted_early(
    p_part, p_lse, p_lam, p_y, part_n, part_i, part_j, part_g,
    lse_n, lse_i, lse_j, lam_n, y_n, y_g, n_split,
    DV: tl.constexpr, SPLITS: tl.constexpr,
):  # fmt: skip
    """Each split's difference, joined with the shares of branch 1."""
    n, g = tl.program_id(0), tl.program_id(1)
    at = tl.arange(0, DV)
    lam = tl.load(p_lam + n * lam_n + g)
    y = tl.zeros([DV], tl.float32)
    top = -1e30
    total = 0.0
    for i in range(n_split):
        lse = tl.load(p_lse + n * lse_n + i * lse_i + g)
        row = p_part + n * part_n + i * part_i + g * part_g
        gap = tl.load(row + at) - lam * tl.load(row + part_j + at)
        new = tl.maximum(top, lse)
        old, share = tl.exp2(top - new), tl.exp2(lse - new)
        total = total * old + share
        y = y * old + share * gap
        top = new
    tl.store(p_y + n * y_n + g * y_g + at, y / total)


# P3.3 --------------------------------------------------------------------


def by_splits(
    N, S, BS, places, extra, *,
    up=lambda x: ceil(x), start=None, heads=None, fits=False, last=False,
    pick=lambda splits, each: splits,
):  # fmt: skip
    """Try numbers of splits, not of blocks; simulate rounds by hand."""
    n = S // BS if last else (S + BS - 1) // BS
    best = None
    for splits in range(1, n + 1):
        each = (n + splits - 1) // splits
        programs = (N if heads is None else heads) * splits
        if fits and splits > 1 and programs > places:
            continue
        rounds = up(programs / places)
        time = rounds * each
        time += rounds * extra if start is None else start * extra
        if best is None or time < best[0]:
            best = time, pick(splits, each)
    return best[1], best[0]


def plans(N, S, BS, places, extra, sign=1):
    """(time, splits) of each number of blocks in a split."""
    n = ceil(S / BS)
    splits = {b: ceil(n / b) for b in range(1, n + 1)}
    rounds = {b: sign * ceil(N * i / places) for b, i in splits.items()}
    return [(rounds[b] * (b + extra), splits[b]) for b in splits]


def each_head_alone(N, S, BS, places, extra):
    n, found = ceil(S / BS), {}
    for each in range(n, 0, -1):
        splits = ceil(n / each)
        rounds = 0
        for _ in range(N):
            rounds += ceil(splits / places)
        found.setdefault(rounds * each + rounds * extra, splits)
    return found[min(found)], min(found)


def last_of_the_best(N, S, BS, places, extra):
    n, best, many = ceil(S / BS), float("inf"), 0
    for each in range(n, 0, -1):
        splits = ceil(n / each)
        time = ceil(N * splits / places) * (each + extra)
        if time <= best:
            best, many = time, splits
    return many, best


def rounded_down(N, S, BS, places, extra):
    n = ceil(S / BS)
    times = {
        s: -(-N * s // places) * (n // s + extra) for s in range(1, n + 1)
    }
    best = min(times, key=times.get)
    return best, times[best]


def equal_splits(N, S, BS, places, extra):
    n, best = ceil(S / BS), None
    for each in range(n, 0, -1):
        if n % each == 0:
            time = ceil(N * (n // each) / places) * (each + extra)
            if best is None or time < best[1]:
                best = n // each, time
    return best


def first_valley(N, S, BS, places, extra):
    def time(s):
        return ceil(N * s / places) * (ceil(ceil(S / BS) / s) + extra)

    best = s = 1
    while s < ceil(S / BS) and time(s + 1) <= time(s):
        s += 1
        if time(s) < time(best):
            best = s
    return best, time(best)


def finest(N, S, BS, places, extra):
    programs, time = N * ceil(S / BS), 0
    while programs > 0:
        programs, time = programs - places, time + 1 + extra
    return ceil(S / BS), time


# The largest score, beside the log-sum.
HIGH = (
    ("        for block", "        high = lse\n        for block"),
    (
        "            new = tl.sum",
        "            high = tl.maximum(high, tl.max(score, 1))\n"
        "            new = tl.sum",
    ),
)

RIGHT = {
    "P3.1": in_turn,
    "P3.2": one_by_one,
    "P3.3": by_splits,
    "P3.4": window,
}

WRONG = {
    "P3.1": {
        "into the next split": edited(in_turn, ("key < last", "key < S")),
        "end of the keys forgotten": edited(
            in_turn, ("tl.minimum(split * (i + 1), S)", "split * (i + 1)")
        ),
        "every split takes all keys": edited(
            in_turn,
            ("first = split * i", "first = 0"),
            ("last = tl.minimum(split * (i + 1), S)", "last = S"),
        ),
        "every split begins at key 0": edited(
            in_turn, ("first = split * i", "first = 0")
        ),
        "keys of the next split read": edited(
            in_turn, ("there[None, :], 0.0)", "key[None, :] < S, 0.0)")
        ),
        "from key 0 by a mask": edited(
            in_turn,
            ("range(tl.cdiv(last - first, BS))", "range(tl.cdiv(last, BS))"),
            ("key = first + block", "key = block"),
            ("there = key < last", "there = (key < last) & (key >= first)"),
            ("score, -1e30", 'score, float("-inf")'),
            ("- 1e30", '+ float("-inf")'),
        ),
        "moved twice": edited(
            in_turn, ("n * part_n + i * part_i", "n * part_n + 2 * i * part_i")
        ),
        "no other": edited(
            in_turn,
            (
                "b_v = tl.load(p_value, there[:, None], 0.0)",
                "b_v = tl.load(p_value, there[:, None])",
            ),
        ),
        "keys beyond the end score 0": edited(
            in_turn, ("tl.where(there[None, :], score, -1e30)", "score")
        ),
        "keys of branch 1 twice": edited(in_turn, (" + j * k_j", "")),
        "queries of branch 1 twice": edited(in_turn, (" + j * q_j", "")),
        "not divided": edited(
            in_turn,
            *HIGH,
            (
                "        p_out = p_part",
                "        out = out * tl.exp2(lse - high)[:, None]\n"
                "        p_out = p_part",
            ),
        ),
        "log-sum without the top": edited(
            in_turn, *HIGH, ("+ row, lse, row", "+ row, lse - high, row")
        ),
        "log-sum in base e": edited(
            in_turn,
            ("+ row, lse, row", "+ row, lse * 0.6931471805599453, row"),
        ),
        "scores without their scale": edited(
            in_turn, ("c * tl.dot", "tl.dot")
        ),
        "queries read beyond the last": edited(
            in_turn, ("row[:, None] < G, 0.0", "row[:, None] < ROWS, 0.0")
        ),
        "rows written beyond the last": edited(
            in_turn, ("out, row[:, None] < G", "out, row[:, None] < ROWS")
        ),
        "both written to branch 1": edited(
            in_turn, (" + j * part_j", ""), (" + j * lse_j", "")
        ),
        "one branch without scale": edited(
            in_turn, ("c * tl.dot", "tl.where(j == 1, 1.0, c) * tl.dot")
        ),
        "one branch not divided": edited(
            in_turn,
            *HIGH,
            (
                "        p_out = p_part",
                "        out = out * tl.exp2((lse - high) * j)[:, None]\n"
                "        p_out = p_part",
            ),
        ),
        "one log-sum without its top": edited(
            in_turn, *HIGH, ("+ row, lse, row", "+ row, lse - high * j, row")
        ),
        "one log-sum without its sum": edited(
            in_turn,
            *HIGH,
            ("+ row, lse, row", "+ row, tl.where(j == 1, high, lse), row"),
        ),
        "one log-sum in base e": edited(
            in_turn,
            *HIGH,
            (
                "+ row, lse, row",
                "+ row, high + (lse - high) * (1.0 - "
                "0.3068528194400547 * j), row",
            ),
        ),
        "the same keys in every round": edited(
            in_turn, ("first + block * BS +", "first +")
        ),
        "one row for all": edited(
            in_turn, ("key[:, None] * v_s + e", "key[:, None] * 0 + e")
        ),
    },
    "P3.2": {
        "mean of the splits": edited(
            one_by_one, ("tl.exp2(top - new), tl.exp2(lse - new)", "1.0, 1.0")
        ),
        "splits added up": edited(
            one_by_one,
            ("tl.exp2(top - new), tl.exp2(lse - new)", "1.0, 1.0"),
            ("out / total", "out"),
        ),
        "shares do not sum to 1": edited(one_by_one, ("out / total", "out")),
        "no maximum": edited(
            all_at_once, ("lse - tl.max(lse, 1)[:, None]", "lse")
        ),
        "nothing minus nothing": edited(
            one_by_one, ("-1e30", 'float("-inf")')
        ),
        "log-sums of another query": edited(
            all_at_once, ("lse_i + g", "lse_i")
        ),
        "base e": edited(one_by_one, ("tl.exp2", "tl.exp")),
        "one log-sum for both": subtracted_early,
        "part of branch 1 twice": edited(one_by_one, (" + j * part_j", "")),
        "shares of both branches together": edited(
            all_at_once,
            ("tl.max(lse, 1)[:, None]", "tl.max(tl.max(lse, 1), 0)"),
            ("tl.sum(share, 1)[:, None]", "tl.sum(tl.sum(share, 1), 0)"),
        ),
        "lambda of another head": edited(
            one_by_one, ("n * lam_n + g", "n * lam_n")
        ),
        "lambda on both": edited(one_by_one, ("0, 1.0,", "0, lam,")),
        "lambda dropped": edited(all_at_once, ("1.0, -lam", "1.0, -1.0")),
        "branches added": edited(all_at_once, ("1.0, -lam", "1.0, lam")),
        "splits that do not exist": edited(
            all_at_once, ('float("-inf")', "0.0")
        ),
        "read beyond the last split": edited(
            one_by_one, ("range(n_split)", "range(SPLITS)")
        ),
        "shares of one branch not divided": edited(
            one_by_one,
            (
                "factor * out / total",
                "factor * out / tl.where(j == 0, total, 1.0)",
            ),
        ),
        "splits of one branch added up": edited(
            one_by_one,
            (
                "out = out * old + share * tl.load(row + at)",
                "b = tl.load(row + at)\n"
                "            out = tl.where(j == 1, out + "
                "b, out * old + share * b)",
            ),
            (
                "factor * out / total",
                "factor * out / tl.where(j == 1, 1.0, total)",
            ),
        ),
        "one branch only": edited(
            one_by_one,
            ("tl.where(j == 0, 1.0, -lam)", "tl.where(j == 0, 1.0, 0.0)"),
        ),
        "the other sign": edited(
            one_by_one,
            ("tl.where(j == 0, 1.0, -lam)", "tl.where(j == 0, -1.0, lam)"),
        ),
    },
    "P3.3": {
        "rounds not rounded up": lambda *a: by_splits(*a, up=lambda x: x),
        "rounds rounded down": lambda *a: by_splits(
            *a, up=lambda x: max(int(x), 1)
        ),
        "full rounds and one more": lambda *a: by_splits(
            *a, up=lambda x: int(x) + 1
        ),
        "blocks rounded down": rounded_down,
        "equal splits only": equal_splits,
        "stopped at the first rise": first_valley,
        "one round only": lambda *a: by_splits(*a, fits=True),
        "always one block": finest,
        "extra left out": lambda *a: by_splits(*a, start=0),
        "extra once": lambda *a: by_splits(*a, start=1),
        "heads forgotten": lambda *a: by_splits(*a, heads=1),
        "each head rounded up": each_head_alone,
        "last block forgotten": lambda *a: by_splits(*a, last=True),
        "most splits": last_of_the_best,
        "in the other order": lambda *a: by_splits(*a)[::-1],
        "blocks returned": lambda *a: by_splits(
            *a, pick=lambda splits, each: each
        ),
        "longest time": lambda *a: max(plans(*a))[::-1],
        "time of one program": edited(
            by_splits,
            ("rounds * each", "each"),
            ("rounds * extra if", "extra if"),
        ),
        "rounds alone": edited(
            by_splits, ("time = rounds * each", "time = 0")
        ),
        "heads for programs": edited(
            by_splits,
            (
                "(N if heads is None else heads) * splits",
                "(N if heads is None else heads)",
            ),
        ),
        "sign of the rounding": lambda *a: min(plans(*a, sign=-1))[::-1],
    },
    "P3.4": {
        "window ignored": edited(window, (OLDEST, "length * 0")),
        "window one too long": edited(
            window,
            (OLDEST, "tl.where(length > W + 1, length - W - 1, 0)"),
        ),
        "window one too short": edited(
            window,
            (OLDEST, "tl.where(length >= W, length - W + 1, 0)"),
        ),
        "window below 0": edited(window, (OLDEST, "length - W")),
        "one length for all": edited(window, ("p_lengths + n", "p_lengths")),
        "length not the end": edited(
            window,
            ("tl.minimum(oldest + split * i, length)", "oldest + split * i"),
            (LAST, "first + split"),
        ),
        "into the next split": edited(window, ("key < last", "key < length")),
        "the cache is cut": edited(
            window,
            (
                "tl.minimum(oldest + split * i, length)",
                "tl.maximum(split * i, oldest)",
            ),
            (LAST, "tl.minimum(split * (i + 1), length)"),
        ),
        "window by a mask": edited(
            window,
            (
                "for block in range(tl.cdiv(last - first, BS))",
                "for block in range(first // BS, tl.cdiv(last, BS) * "
                "(first < last))",
            ),
            ("key = first + block", "key = block"),
            (
                "tl.where(there[None, :], score",
                "tl.where((there & (key >= first))[None, :], score",
            ),
        ),
        "keys of the next split read": edited(
            window, ("there[:, None], 0.0)", "key[:, None] < length, 0.0)")
        ),
        "a mistake of P3.1": edited(window, ("c * tl.dot", "tl.dot")),
        "0 / 0": edited(
            window,
            (
                NO_KEYS,
                NO_KEYS + "        nothing = tl.where(lse > -1e29, 1.0, 0.0)\n"
                "        out = out * nothing[:, None] / nothing[:, None]\n",
            ),
        ),
        "empty split not written": edited(
            window,
            (
                "out, row[:, None] < G",
                "out, (row[:, None] < G) & (first < last)",
            ),
            ("lse, row < G", "lse, (row < G) & (first < last)"),
        ),
        "empty split has log-sum 0": edited(
            window, ('lse < -1e29, float("-inf")', "lse < -1e29, 0.0")
        ),
        "one branch without scale": edited(
            window, ("c * tl.dot", "tl.where(j == 1, 1.0, c) * tl.dot")
        ),
        "one branch not divided": edited(
            window,
            *HIGH,
            (
                "        p_out = p_part",
                "        out = out * tl.exp2((lse - high) * j)[:, None]\n"
                "        p_out = p_part",
            ),
        ),
        "one log-sum without its top": edited(
            window,
            *HIGH,
            (
                "+ row, lse, row",
                "+ row, tl.where(lse > -1e29, lse - high * j, "
                "tl.where(j == 1, 0.0, lse)), row",
            ),
        ),
        "one log-sum without its sum": edited(
            window,
            *HIGH,
            (
                "+ row, lse, row",
                "+ row, tl.where((j == 1) & (lse > -1e29), high, lse), row",
            ),
        ),
        "one log-sum in base e": edited(
            window,
            *HIGH,
            (
                "+ row, lse, row",
                "+ row, tl.where(lse > -1e29, high + (lse - high)"
                " * (1.0 - 0.3068528194400547 * j), lse), row",
            ),
        ),
        "the same keys in every round": edited(
            window, ("first + block * BS +", "first +")
        ),
        "one row for all": edited(
            window, ("key[:, None] * v_s + e", "key[:, None] * 0 + e")
        ),
        "split not counted from the window": edited(
            window, ("oldest + split * i", "oldest")
        ),
        "end not counted from the start": edited(
            window,
            (
                "tl.where(first + split < length, first + split, length)",
                "tl.minimum(split, length)",
            ),
        ),
    },
}
