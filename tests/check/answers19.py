"""Chapter 19: right and wrong answers written another way than ours."""

import math
from fractions import Fraction
from functools import partial

import numpy as np

from minidiff.check.edited import edited

BLANK = -100


def table(k, a, n, b, m):
    """Probability of k solved in the first group, by factorials."""
    f, total = math.factorial, a + b
    if not max(0, total - m) <= k <= min(n, total):
        return Fraction(0)
    ways = Fraction(f(n), f(k) * f(n - k))
    ways *= Fraction(f(m), f(total - k) * f(m - total + k))
    return ways / Fraction(f(n + m), f(total) * f(n + m - total))


def exact(a, n, b, m, keep):
    own = table(a, a, n, b, m)
    return float(
        sum(
            p
            for k in range(a + b + 1)
            if keep(k, a, p := table(k, a, n, b, m), own)
        )
    )


def all_of_the_first(a, n, b, m):
    whole = math.comb(n + m, a + b)
    p = {
        n - i: math.comb(m, a + b - n + i) * math.comb(n, i) / whole
        for i in range(n + 1)
    }
    return sum(x for x in p.values() if x <= p[a] * (1 + 1e-9))


def doubled(a, n, b, m):
    up = exact(a, n, b, m, lambda k, a, p, own: k >= a)
    down = exact(a, n, b, m, lambda k, a, p, own: k <= a)
    return min(2 * up, 2 * down, 1.0)


def apart(a, n, b, m):
    own = abs(Fraction(a, n) - Fraction(b, m))
    return exact(
        a,
        n,
        b,
        m,
        lambda k, a, p, _: abs(Fraction(k, n) - Fraction(a + b - k, m)) >= own,
    )


def replaced(a, n, b, m):
    share, total = Fraction(n, n + m), a + b
    p = [
        math.comb(total, k) * share**k * (1 - share) ** (total - k)
        for k in range(total + 1)
    ]
    return float(sum(x for x in p if x <= p[a]))


def z_test(a, n, b, m):
    pooled = (a + b) / (n + m)
    variance = pooled * (1 - pooled) * (n + m) / (n * m)
    if variance == 0:
        return 1.0
    z = abs(a / n - b / m) / math.sqrt(variance)
    return 1 - math.erf(z / math.sqrt(2))


def share_of(ways, a):
    """Share of the splits no likelier than that of a, by their ways."""
    return sum(w for w in ways if w <= ways[a]) / sum(ways)


def unlikely(k, a, p, own):
    return p <= own


def heads(A, answers, total="size", sign=True, rest="rest"):
    """Loop over heads and queries."""
    on, off = [], []
    for head in A:
        found, others = [], []
        for row, at in zip(head, answers, strict=True):
            sizes = [abs(float(w)) for w in row]
            by = {"size": sum(sizes), "sum": float(sum(row)), "none": 1.0}
            share = float(row[at]) / by[total]
            found.append(share if sign else abs(share))
            others.append(
                {
                    "rest": (sum(sizes) - sizes[at]) / by[total],
                    "minus": 1 - share,
                    "signed": float(sum(row) - row[at]) / by[total],
                }[rest]
            )
        on.append(sum(found) / len(found))
        off.append(sum(others) / len(others))
    return np.array(on), np.array(off)


def divided_late(A, answers):
    on, off = heads(A, answers, total="none")
    sizes = np.abs(A).sum(2).mean(1)
    return on / sizes, off / sizes


def one_head(A, answers):
    on, off = heads(A, answers)
    return float(np.mean(on)), float(np.mean(off))


def all_answers(A, answers):
    """Mean over the answers of what the queries give to each."""
    parts = [heads(A, [at] * len(answers)) for at in answers]
    return tuple(np.mean(part, axis=0) for part in zip(*parts, strict=True))


def three_way(low, high, allowed):
    return 1 if low > allowed else -1 if high < allowed else 0


def measured(
    model,
    usual,
    harder,
    allowed,
    *,
    pooled=False,
    by_query=False,
    shrink=True,
    less=1,
    z=1.96,
    combine=math.hypot,
    sign=1,
    decide=three_way,
):
    means, errors = [], []
    for x, y in (usual, harder):
        said = np.argmax(model(x), axis=2)
        rows = [
            [s == t for s, t in zip(*r, strict=True) if t != BLANK]
            for r in zip(said, y, strict=True)
        ]
        shares = [sum(r) / len(r) for r in rows]
        flat = [float(g) for r in rows for g in r]
        centre = sum(shares) / len(shares)
        means.append(sum(flat) / len(flat) if pooled else centre)
        variance = sum((s - centre) ** 2 for s in shares)
        variance /= (len(shares) - less) * (len(shares) if shrink else 1)
        if by_query:
            p = sum(flat) / len(flat)
            variance = p * (1 - p) / len(flat)
        errors.append(math.sqrt(variance))
    gap = sign * (means[0] - means[1])
    half = z * combine(*errors)
    return (
        gap,
        gap - half,
        gap + half,
        decide(gap - half, gap + half, allowed),
    )


RIGHT = {
    "19.1": lambda *x: exact(*x, unlikely),
    "19.2": heads,
    "19.3": measured,
}

WRONG = {
    "19.1": {
        "this table only": lambda *x: float(table(x[0], *x)),
        "one side, up": lambda *x: exact(*x, lambda k, a, p, own: k >= a),
        "one side, down": lambda *x: exact(*x, lambda k, a, p, own: k <= a),
        "this table left out": lambda *x: exact(
            *x, lambda k, a, p, own: p < own
        ),
        "likelier ones": lambda *x: exact(*x, lambda k, a, p, own: p >= own),
        "doubled": doubled,
        "twice one tail": lambda *x: (
            2 * exact(*x, lambda k, a, p, own: k >= a)
        ),
        "comb of a negative number": all_of_the_first,
        "by the difference of shares": apart,
        "drawn with replacement": replaced,
        "normal approximation": z_test,
        "complement": lambda *x: 1 - exact(*x, unlikely),
        "ways of one group": lambda a, n, b, m: share_of(
            [math.comb(n, k) for k in range(a + b + 1)], a
        ),
        "another number of the second": lambda a, n, b, m: share_of(
            [math.comb(n, k) * math.comb(m, k) for k in range(a + b + 1)], a
        ),
        "ways, not a share": lambda a, n, b, m: (
            exact(a, n, b, m, unlikely) * math.comb(n + m, a + b)
        ),
        "all splits": lambda *x: 1.0,
    },
    "19.2": {
        "signed sum": partial(heads, total="sum", rest="minus"),
        "not divided": partial(heads, total="none"),
        "sign of the answer dropped": partial(heads, sign=False),
        "one minus a negative share": partial(heads, rest="minus"),
        "noise cancelled": partial(heads, rest="signed"),
        "ratio of means": divided_late,
        "every query with every answer": all_answers,
        "mean over heads": one_head,
        "shares of something else": lambda A, answers: (
            heads(A, answers, total="sum")[0],
            1 - heads(A, answers, total="sum", sign=False)[0],
        ),
        "sums over the queries": lambda A, answers: (
            heads(A, answers)[0] * len(answers),
            heads(A, answers)[1],
        ),
        "the answer again": lambda A, answers: (
            heads(A, answers)[0],
            heads(A, answers, sign=False)[0],
        ),
    },
    "19.3": {
        "queries as units": partial(measured, by_query=True),
        "all queries together": partial(measured, pooled=True),
        "spread of a row": partial(measured, shrink=False),
        "divides by n": partial(measured, less=0),
        "errors added": partial(measured, combine=lambda a, b: a + b),
        "one standard error": partial(measured, z=1.0),
        "harder minus usual": partial(measured, sign=-1),
        "the point decides": partial(
            measured,
            decide=lambda low, high, x: int(np.sign((low + high) / 2 - x)),
        ),
        "not shown is not there": partial(
            measured, decide=lambda low, high, x: 2 * (low > x) - 1
        ),
        "holding not shown": partial(
            measured, decide=lambda low, high, x: 1 - 2 * (high < x)
        ),
        "any drop, and a large one": partial(
            measured,
            decide=lambda low, high, x: (
                int(low > 0 and low + high > 2 * x) or -int(high < x)
            ),
        ),
        "verdict reversed": partial(
            measured,
            decide=lambda low, high, x: int(high < x) - int(low > x),
        ),
        "0 asked first": partial(
            measured,
            decide=lambda low, high, x: (
                three_way(low, high, x) if low * high > 0 else 0
            ),
        ),
        "compared with 0": partial(
            measured,
            decide=lambda low, high, x: int(low > 0) - int(high < 0),
        ),
        "every position": edited(measured, (" if t != BLANK", "")),
        "where nothing is asked": edited(
            measured,
            ("t != BLANK", "t == BLANK"),
            ("sum(r) / len(r) for", "0.0 if r else math.nan for"),
        ),
        "smallest logit": edited(measured, ("np.argmax", "np.argmin")),
        "counts": edited(measured, ("sum(r) / len(r) for r", "sum(r) for r")),
        "no difference": edited(measured, ("means[0] - means[1]", "means[0]")),
        "no root": partial(measured, combine=lambda a, b: a * a + b * b),
        "full width": partial(measured, z=2 * 1.96),
        "verdict one-sided": partial(
            measured, decide=lambda low, high, allowed: int(low > allowed)
        ),
        "half of it by the point": partial(
            measured,
            decide=lambda low, high, allowed: (
                int((low + high) / 2 > allowed) - int(high < allowed)
            ),
        ),
        "a half-width for an end": lambda *x: (
            lambda d, low, high, v: (d, (high - low) / 2, high, v)
        )(*measured(*x)),
        "one end twice": lambda *x: (lambda d, low, high, v: (d, d, high, v))(
            *measured(*x)
        ),
        "low and high exchanged": lambda *x: (
            lambda d, low, high, v: (d, high, low, v)
        )(*measured(*x)),
    },
}
