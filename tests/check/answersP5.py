"""Second answers to problem set 5."""

import math
from functools import partial

import numpy as np

from minidiff.check.edited import edited

BLANK = -100


def queries(x, y, shift=0, weigh="query"):
    """Loop over rows and positions; return the share that is right."""
    shares, right, total = [], 0, 0
    for row, targets in zip(x, y, strict=True):
        pairs = [
            (int(np.argmax(row[t])), int(targets[t + shift]))
            for t in range(len(targets) - shift)
        ]
        good = [said == asked for said, asked in pairs if asked != BLANK]
        right += sum(good)
        total += len(good)
        shares.append(all(good) if weigh == "row" else np.mean(good))
    return right / total if weigh == "query" else float(np.mean(shares))


def positions(x, y, blank_is_right=False):
    right = sum(
        int(np.argmax(x[i, t])) == y[i, t]
        or (blank_is_right and y[i, t] == BLANK)
        for i in range(y.shape[0])
        for t in range(y.shape[1])
    )
    return right / y.size


def place(steps, tie="mean", first=1, unsolved=math.inf, reverse=False):
    """Sort, and give equal runs what ``tie`` says of their ranks."""
    known = [unsolved if math.isnan(s) else float(s) for s in steps]
    order = sorted(known, reverse=reverse)
    pick = {"mean": np.mean, "low": min, "high": max}[tie]
    return np.array(
        [
            float(pick([i + first for i, s in enumerate(order) if s == own]))
            for own in known
        ]
    )


def in_order(steps):
    known = [math.inf if math.isnan(s) else s for s in steps]
    out = np.empty(len(known))
    for rank, i in enumerate(sorted(range(len(known)), key=known.__getitem__)):
        out[i] = rank + 1
    return out


def argsort_once(steps):
    known = [math.inf if math.isnan(s) else s for s in steps]
    return np.array(sorted(range(len(known)), key=known.__getitem__)) + 1.0


def dense(steps):
    known = [math.inf if math.isnan(s) else s for s in steps]
    levels = sorted(set(known))
    return np.array([levels.index(s) + 1.0 for s in known])


def nan_compared(steps):
    out = []
    for own in steps:
        less = sum(bool(s < own) for s in steps)
        same = sum(bool(s == own) for s in steps)
        out.append(less + (same + 1) / 2)
    return np.array(out)


def slowest(steps):
    return place(steps, unsolved=max((s for s in steps if s == s), default=0))


def dropped(steps):
    out = place(steps)
    out[[math.isnan(s) for s in steps]] = math.nan
    return out


def by_group(right, asked, factor=None, unit="group", root=True, per="all"):
    """Group after group in plain Python: accuracy and standard error."""
    pairs = [(int(r), int(n)) for r, n in zip(right, asked, strict=True)]
    G, total = len(pairs), sum(n for _, n in pairs)
    p = sum(r for r, _ in pairs) / total
    mean = sum(r for r, _ in pairs) / G
    squares = 0.0
    for r, n in pairs:
        if unit == "group":
            squares += (r - p * n) ** 2
        elif unit == "count":
            squares += (r - mean) ** 2
        elif unit == "question":  # each answer alone, 1 or 0
            squares += r * (1 - p) ** 2 + (n - r) * p**2
        else:  # within the group, around its own share
            squares += r * (1 - r / n) ** 2 + (n - r) * (r / n) ** 2
    more = G / (G - 1) if factor is None else factor
    value = squares * more / {"all": total, "groups": G, "one": 1}[per] ** 2
    return p, math.sqrt(value) if root else value


def by_share(right, asked, pooled=False):
    shares = [r / n for r, n in zip(right, asked, strict=True)]
    G = len(shares)
    mean = sum(shares) / G
    error = math.sqrt(sum((x - mean) ** 2 for x in shares) / (G - 1) / G)
    return (sum(right) / sum(asked) if pooled else mean), error


def factor_outside(right, asked):
    p, error = by_group(right, asked)
    return p, error * math.sqrt(len(right) / (len(right) - 1))


def cancelled(right, asked):
    p = float(sum(right) / sum(asked))
    return p, p * 0


def experiments(
    effect, spread, noise, t, share,
    s="own", factor=None, divide="root", sides=1, wanted="first", over=False,
    shift=1, pairs=None, none=0, swap=False,
):  # fmt: skip
    """Experiment after experiment; count those that see the effect."""
    rows = noise.T if swap else noise
    good = []
    for place, n in enumerate(t):
        seen = 0
        for row in rows:
            d = [effect * shift + spread * float(x) for x in row[: pairs or n]]
            k = len(d)
            mean = sum(d) / k
            squares = sum((x - mean) ** 2 for x in d)
            own = {
                "own": math.sqrt(squares / (k - 1)),
                "biased": math.sqrt(squares / k),
                "known": spread,
            }[s]
            below = {"root": math.sqrt(k), "n": k, "none": 1}[divide]
            half = (t[n] if factor is None else factor) * own / below
            seen += mean > half or (sides == 2 and -mean > half)
        needed = share * len(rows)
        if seen > needed or (seen >= needed and not over):
            good.append(place if wanted == "place" else n)
    if not good:
        return none
    return good[-1] if wanted == "last" else good[0]


def usual_half(effect, spread, noise, t, share):
    for n in sorted(t):
        if n * effect**2 > (t[n] * spread) ** 2:
            return n
    return 0


RIGHT = {
    "P5.1": queries,
    "P5.2": place,
    "P5.3": by_group,
    "P5.4": experiments,
}

WRONG = {
    "P5.1": {
        "all positions": positions,
        "a count": lambda x, y: positions(x, y) * y.size,
        "blanks are right": partial(positions, blank_is_right=True),
        "shifted": partial(queries, shift=1),
        "mean of rows": partial(queries, weigh="mean"),
        "whole rows": partial(queries, weigh="row"),
        "where nothing is asked": edited(
            queries, ("asked != BLANK", "asked == BLANK")
        ),
        "wrong ones counted": lambda x, y: 1 - queries(x, y),
        "smallest logit": edited(queries, ("np.argmax", "np.argmin")),
    },
    "P5.2": {
        "ties in order": in_order,
        "argsort once": argsort_once,
        "lowest rank": partial(place, tie="low"),
        "highest rank": partial(place, tie="high"),
        "no gaps": dense,
        "from 0": partial(place, first=0),
        "NaN compared": nan_compared,
        "unsolved first": partial(place, unsolved=0.0),
        "unsolved at the last step": slowest,
        "a number for never": partial(place, unsolved=10_001.0),
        "unsolved all last": lambda steps: np.fmax(
            place(steps), [len(steps) * math.isnan(s) for s in steps]
        ),
        "unsolved dropped": dropped,
        "late first": partial(place, reverse=True),
        "rounded ranks": lambda steps: np.floor(place(steps)),
        "equal ones twice": lambda steps: (
            place(steps, tie="mean")
            + place(steps, tie="high")
            - place(steps, tie="low")
            + 1
        ),
        "half a rank off": lambda steps: place(steps) - 0.5,
    },
    "P5.3": {
        "independent questions": partial(by_group, unit="question", factor=1),
        "within groups": partial(by_group, unit="own", factor=1),
        "mean of shares": by_share,
        "spread of shares": partial(by_share, pooled=True),
        "deviations from the mean number": partial(by_group, unit="count"),
        "G forgotten": partial(by_group, factor=1),
        "factor outside the root": factor_outside,
        "a variance": partial(by_group, root=False),
        "error of the number": partial(by_group, per="one"),
        "divided by the groups": partial(by_group, per="groups"),
        "deviations added up first": cancelled,
        "no share": edited(
            by_group,
            (
                "p = sum(r for r, _ in pairs) / total",
                "p = sum(r for r, _ in pairs)",
            ),
        ),
        "no deviations": edited(by_group, ("(r - p * n) ** 2", "r**2")),
        "another factor": lambda right, asked: by_group(
            right, asked, factor=1 / (len(right) - 1)
        ),
        "sizes for squares": edited(
            by_group, ("(r - p * n) ** 2", "abs(r - p * n)")
        ),
        "no root": lambda right, asked: (
            by_group(right, asked)[0],
            by_group(right, asked, root=False)[1] * sum(asked),
        ),
    },
    "P5.4": {
        "half-width below the effect": usual_half,
        "the spread as known": partial(experiments, s="known"),
        "either side": partial(experiments, sides=2),
        "mean above 0": partial(experiments, factor=0.0),
        "1.96 for every n": partial(experiments, factor=1.96),
        "no factor": partial(experiments, factor=1.0),
        "not divided by the root": partial(experiments, divide="none"),
        "divided by n outside the root": partial(experiments, divide="n"),
        "n in the denominator of s": partial(experiments, s="biased"),
        "no effect": partial(experiments, shift=0),
        "rows for pairs": partial(experiments, swap=True),
        "all pairs": partial(experiments, pairs=12),
        "more than the share": partial(experiments, over=True),
        "the last that suffices": partial(experiments, wanted="last"),
        "the place in the table": partial(experiments, wanted="place"),
        "none, but a number": lambda *args: experiments(
            *args, none=list(args[3])[-1]
        ),
        "noise taken away": edited(
            experiments, ("effect * shift + spread", "effect * shift - spread")
        ),
        "spread left out": edited(
            experiments, ("+ spread * float(x)", "+ float(x)")
        ),
        "one pair too few or too many": edited(
            experiments,
            ("row[: pairs or n]", "row[: n - 1]"),
            ("math.sqrt(k),", "math.sqrt(n),"),
        ),
        "sum for mean": edited(
            experiments, ("mean > half or", "mean * k > half or")
        ),
        "the wrong side": edited(
            experiments, ("mean > half or", "mean < half or")
        ),
        "half-width without the spread": edited(
            experiments, ("* own / below", "/ below")
        ),
        "another sign for none": partial(experiments, none=-1),
    },
}
