"""Second answers to problem set 5."""

import math
from functools import partial

import numpy as np

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


RIGHT = {
    "P5.1": queries,
    "P5.2": place,
}

WRONG = {
    "P5.1": {
        "all positions": positions,
        "a count": lambda x, y: positions(x, y) * y.size,
        "blanks are right": partial(positions, blank_is_right=True),
        "shifted": partial(queries, shift=1),
        "mean of rows": partial(queries, weigh="mean"),
        "whole rows": partial(queries, weigh="row"),
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
    },
}
