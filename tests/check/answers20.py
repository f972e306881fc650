"""Chapter 20: right and wrong answers written another way than ours."""

import math
from functools import partial

import numpy as np

from minidiff.check.edited import edited


def seen(
    trained,
    D,
    base,
    *,
    less=1,
    turn=math.tau,
    first=0,
    power=2,
    sign=-1,
    cap=lambda x: min(1.0, x),
):
    pairs = range(first, first + D // 2)
    found = []
    for i in pairs:
        speed = math.exp(sign * power * i / D * math.log(base))
        found.append(cap((trained - less) * speed / turn))
    return np.array(found)


def slower(trained, longer, D, base, *, less=1, power=None, start=None):
    power = power or (lambda D: D / (D - 2))
    grown = math.log(longer - less) - math.log(trained - less)
    log_base = math.log(base if start is None else start)
    return math.exp(log_base + power(D) * grown)


def parts(ends, means, *, weight=None, divide=None, skip=0):
    weight = weight or (lambda j, end: end)
    divide = divide or (lambda a, b: b - a)
    found, before, start = [], 0.0, 0
    for j, (end, mean) in enumerate(zip(ends, means, strict=True)):
        total = weight(j, end) * mean
        found.append((total - before) / divide(start, end))
        before, start = total, end
    return np.array(found[skip:])


def again(ends, means):
    total, start, found = 0.0, 0, []
    for end, mean in zip(ends, means, strict=True):
        total += (end - start) * mean
        start = end
        found.append(total / end)
    return np.array(found)


def two(lengths, accuracy, share, *, bar=None, strict=False, sort=True):
    rows = list(zip(lengths, accuracy, strict=True))
    rows = sorted(rows) if sort else rows
    values = [y for _, y in rows]
    longest = unbroken = 0
    whole = True
    for j, (length, y) in enumerate(rows):
        limit = share * values[0] if bar is None else bar(values, share, j)
        good = y > limit if strict else y >= limit
        whole = whole and good
        if good:
            longest = max(longest, length)
        if whole:
            unbroken = max(unbroken, length)
    return int(longest), int(unbroken)


def chance(n, p, k):
    return math.comb(n, k) * p**k * (1 - p) ** (n - k)


def cut(
    right,
    asked,
    share,
    *,
    keep=lambda k, base, asked, share: k >= share * base,
    bases=None,
    chance=chance,
    end=None,
):
    """Each repetition's end, by a walk over the lengths."""
    end = end or walk
    found = [0.0] * len(right)
    shares = [r / asked for r in right]
    for base in range(asked + 1):
        if bases is None:
            weight = chance(asked, shares[0], base)
        else:
            weight = float(base == bases(right))
        kept = [
            sum(
                chance(asked, p, k)
                for k in range(asked + 1)
                if keep(k, base, asked, share)
            )
            for p in shares[1:]
        ]
        for j, value in enumerate(end(kept)):
            found[j] += weight * value
    return np.array(found)


def walk(kept, last=1.0):
    found, alive = [], 1.0
    for p in kept:
        found.append(alive * (1 - p))
        alive *= p
    return [*found, alive * last]


def at_least(kept):
    return [math.prod(kept[:j]) for j in range(len(kept) + 1)]


def own(kept):
    reached = at_least(kept)
    return [0.0] + [
        a * (1 - p) for a, p in zip(reached[1:], kept, strict=True)
    ]


def longest(kept):
    n = len(kept)
    return [
        (kept[j - 1] if j else 1.0)
        * math.prod(1 - kept[i] for i in range(j, n))
        for j in range(n + 1)
    ]


def separate(right, asked, share):
    shares = [r / asked for r in right]
    kept = []
    for p in shares[1:]:
        pairs = (
            chance(asked, shares[0], base) * chance(asked, p, k)
            for base in range(asked + 1)
            for k in range(asked + 1)
            if k >= share * base
        )
        kept.append(sum(pairs))
    return np.array(walk(kept))


def both(which):
    return lambda *x: (two(*x)[which],) * 2


def failing(lengths, accuracy, share):
    first, second = two(lengths, accuracy, share)
    after = sorted(n for n in lengths if n > second)
    return first, int(after[0] if after else second)


RIGHT = {
    "20.1": seen,
    "20.2": slower,
    "20.3": parts,
    "20.4": two,
    "20.5": cut,
}

WRONG = {
    "20.1": {
        "more than a turn": partial(seen, cap=float),
        "where the pair stands": partial(seen, cap=lambda x: math.fmod(x, 1)),
        "one distance too many": partial(seen, less=0),
        "half a turn": partial(seen, turn=math.pi),
        "degrees": partial(seen, turn=360.0),
        "radians": partial(seen, turn=1.0),
        "half the exponent": partial(seen, power=1),
        "pairs from 1": partial(seen, first=1),
        "pairs that get faster": partial(seen, sign=1),
        "another turn": partial(seen, turn=2 / math.pi),
        "one token": edited(seen, ("(trained - less) * ", "")),
        "another distance": partial(seen, less=2),
        "exponent without D": edited(seen, (" / D *", " *")),
        "product for power": edited(
            seen,
            (
                "math.exp(sign * power * i / D * math.log(base))",
                "sign * power * i / D * base",
            ),
        ),
        "larger of the two": partial(seen, cap=lambda x: max(1.0, x)),
        "rounded down": partial(seen, cap=lambda x: min(1.0, math.floor(x))),
    },
    "20.2": {
        "ratio of lengths": partial(slower, less=0),
        "base times ratio": partial(slower, power=lambda D: 1),
        "exponent upside down": partial(slower, power=lambda D: 1 - 2 / D),
        "smaller base": partial(slower, power=lambda D: D / (2 - D)),
        "half the exponent": partial(
            slower, power=lambda D: 1 / (0.5 - 1 / D)
        ),
        "factor only": partial(slower, start=1.0),
        "no ratio": edited(slower, (" - math.log(trained - less)", "")),
        "another distance": edited(
            slower, ("math.log(longer - less)", "math.log(longer)")
        ),
        "ratio rounded down": edited(
            slower,
            (
                "math.log(longer - less) - math.log(trained - less)",
                "math.log((longer - less) // (trained - less))",
            ),
        ),
        "another exponent": partial(slower, power=lambda D: D / (D - 1)),
        "no power of the ratio": edited(
            slower, ("power(D) * grown", "math.log(power(D)) + grown")
        ),
    },
    "20.3": {
        "differences of means": partial(
            parts, weight=lambda j, end: 1, divide=lambda a, b: 1
        ),
        "sums": partial(parts, divide=lambda a, b: 1),
        "divided by the end": partial(parts, divide=lambda a, b: b),
        "slope of the curve": partial(parts, weight=lambda j, end: 1),
        "equal stretches": partial(
            parts, weight=lambda j, end: j + 1, divide=lambda a, b: 1
        ),
        "first stretch missing": partial(parts, skip=1),
        "averaged again": again,
        "sums made wrongly": edited(
            parts, ("weight(j, end) * mean", "weight(j, end) + mean")
        ),
        "upside down": edited(
            parts,
            (
                "(total - before) / divide(start, end)",
                "divide(start, end) / (total - before)",
            ),
        ),
        "multiplied by the tokens": edited(
            parts, ("(total - before) / ", "(total - before) * ")
        ),
        "sums from the start": edited(
            parts, ("before, start = total, end", "start = end")
        ),
        "first stretch begins elsewhere": edited(
            parts, ("before, start = [], 0.0, 0", "before, start = [], 1.0, 0")
        ),
        "rounded down": edited(
            parts, ("(total - before) / ", "(total - before) // ")
        ),
        "tokens only": lambda ends, means: np.diff(np.append(0, ends)),
    },
    "20.4": {
        "threshold not relative": partial(two, bar=lambda v, s, j: s),
        "best length as base": partial(two, bar=lambda v, s, j: s * max(v)),
        "mean as base": partial(two, bar=lambda v, s, j: s * sum(v) / len(v)),
        "given order": partial(two, sort=False),
        "more than the threshold": partial(two, strict=True),
        "compared with the length before": partial(
            two, bar=lambda v, s, j: s * v[max(0, j - 1)]
        ),
        "share of the drop": partial(two, bar=lambda v, s, j: v[0] - s * v[0]),
        "exchanged": lambda *x: tuple(reversed(two(*x))),
        "longest twice": both(0),
        "unbroken twice": both(1),
        "first that fails": failing,
        "another length as base": partial(
            two, bar=lambda values, share, j: share * values[-1]
        ),
        "share not used": partial(two, bar=lambda values, share, j: values[0]),
        "shortest kept": edited(
            two,
            ("longest = max(longest, length)", "longest = longest or length"),
        ),
    },
    "20.5": {
        "base not repeated": partial(cut, bases=lambda right: right[0]),
        "a base for each length": separate,
        "more than the threshold": partial(
            cut, keep=lambda k, base, asked, share: k > share * base
        ),
        "threshold not relative": partial(
            cut, keep=lambda k, base, asked, share: k >= share * asked
        ),
        "at least this length": partial(cut, end=at_least),
        "no end": partial(cut, end=partial(walk, last=0.0)),
        "own failure": partial(cut, end=own),
        "gaps allowed": partial(cut, end=longest),
        "no coefficients": partial(
            cut, chance=lambda n, p, k: p**k * (1 - p) ** (n - k)
        ),
        "counts end too early": edited(
            cut, ("range(asked + 1)", "range(asked)")
        ),
        "no share": edited(cut, ("r / asked", "r // asked")),
        "no binomial": partial(
            cut, chance=lambda n, p, k: math.comb(n, k) * p**k
        ),
        "mean of probabilities": edited(
            cut,
            (
                "            sum(\n",
                "            (lambda x: float(np.mean(list(x))))(\n",
            ),
        ),
        "the lost ones": partial(
            cut, keep=lambda k, base, asked, share: k <= share * base
        ),
        "another threshold": partial(
            cut, keep=lambda k, base, asked, share: k >= base
        ),
        "one length before": partial(
            cut,
            end=lambda kept: [
                a * b
                for a, b in zip(
                    [1, *kept], [*(1 - x for x in kept), 1], strict=True
                )
            ],
        ),
        "kept ones forgotten": partial(
            cut, end=lambda kept: [*(1 - x for x in kept), 1]
        ),
        "next one kept": partial(
            cut, end=lambda kept: np.cumprod([1, *kept]) * np.array([*kept, 1])
        ),
        "one place off": partial(
            cut,
            end=lambda kept: (
                np.cumprod([*kept, 1]) * np.append(1 - np.array(kept), 1)
            ),
        ),
        "bases not weighted": edited(
            cut, ("chance(asked, shares[0], base)", "1.0")
        ),
        "another length's counts": edited(cut, ("shares[0]", "shares[1]")),
        "last base only": edited(cut, ("found[j] += ", "found[j] = ")),
    },
}
