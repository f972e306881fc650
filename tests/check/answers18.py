"""Chapter 18: right and wrong answers written another way than ours."""

import math
import random

import numpy as np

from minidiff.check.edited import edited


def interval(a, b, t, ddof=1, divide=math.sqrt, sign=1):
    d = [sign * (x - y) for x, y in zip(a, b, strict=True)]
    mean = sum(d) / len(d)
    var = sum((x - mean) ** 2 for x in d) / (len(d) - ddof)
    return mean, t * math.sqrt(var) / divide(len(d))


def unpaired(a, b, t):
    error = math.hypot(np.std(a, ddof=1), np.std(b, ddof=1)) / len(a) ** 0.5
    return float(np.mean(a) - np.mean(b)), t * error


def ends(a, b, t):
    mean, half = interval(a, b, t)
    return mean - half, mean + half


def sums(d):
    """All signed sums of d, one element after the other."""
    found = [0.0]
    for x in d:
        found = [s + sign * x for s in found for sign in (1, -1)]
    return found


def as_far(s, seen):
    return abs(s) > abs(seen) or math.isclose(abs(s), abs(seen))


def flips(d, better=as_far, scale=1):
    found = sums(d)
    return scale * sum(better(s, sum(d)) for s in found) / len(found)


def drawn(d):
    """Signs drawn one by one, 500 times."""
    found = [
        abs(sum(x if random.random() < 0.5 else -x for x in d))
        for _ in range(500)
    ]
    return sum(s >= abs(sum(d)) for s in found) / len(found)


def each(a, b, t, one=interval):
    out = []
    for i in range(a.shape[1]):
        mean, half = one(a[:, i], b[:, i], t)
        out.append(-1 if mean + half < 0 else int(mean - half > 0))
    return np.array(out)


def one_interval(a, b, t):
    d = (a - b).ravel()
    error = math.sqrt(sum((x - d.mean()) ** 2 for x in d) / (len(d) - 1))
    half = t * error / math.sqrt(len(a))
    means = (a - b).mean(axis=0)
    return np.array([(m > half) * 1 - (m < -half) * 1 for m in means])


def walk(tokens, losses, goal, never=math.inf, share=lambda p: p):
    if losses[0] <= goal:
        return tokens[0]
    for i in range(1, len(tokens)):
        if losses[i] <= goal:
            fall = losses[i - 1] - losses[i]
            p = share((losses[i - 1] - goal) / fall)
            return (1 - p) * tokens[i - 1] + p * tokens[i]
    return never


def around(tokens, losses, goal):
    """The measurement before the first is the last."""
    for i, loss in enumerate(losses):
        if loss <= goal:
            slope = (tokens[i] - tokens[i - 1]) / (loss - losses[i - 1])
            return tokens[i - 1] + slope * (goal - losses[i - 1])
    return math.inf


def from_the_end(tokens, losses, goal):
    for i in range(len(tokens) - 1, 0, -1):
        if losses[i] > goal:
            return math.inf
        if losses[i - 1] > goal:
            p = (losses[i - 1] - goal) / (losses[i - 1] - losses[i])
            return tokens[i - 1] + p * (tokens[i] - tokens[i - 1])
    return tokens[0]


def prolonged(tokens, losses, goal):
    i = next((i for i, x in enumerate(losses) if x <= goal), len(losses) - 1)
    i = i or 1
    slope = (tokens[i] - tokens[i - 1]) / (losses[i] - losses[i - 1])
    return tokens[i - 1] + slope * (goal - losses[i - 1])


RIGHT = {
    "18.1": interval,
    "18.2": flips,
    "18.3": each,
    "18.4": walk,
}

WRONG = {
    "18.1": {
        "pairs ignored": unpaired,
        "divides by n": lambda a, b, t: interval(a, b, t, ddof=0),
        "root of n - 1": lambda a, b, t: interval(
            a, b, t, divide=lambda n: math.sqrt(n - 1)
        ),
        "spread of one run": lambda a, b, t: interval(
            a, b, t, divide=lambda n: 1
        ),
        "divided by n": lambda a, b, t: interval(a, b, t, divide=lambda n: n),
        "full width": lambda a, b, t: (
            interval(a, b, t)[0],
            ends(a, b, t)[1] - ends(a, b, t)[0],
        ),
        "low and high": ends,
        "t forgotten": lambda a, b, t: interval(a, b, 1),
        "variance": lambda a, b, t: (
            interval(a, b, t)[0],
            t * float(np.var(a - b, ddof=1)) / len(a) ** 0.5,
        ),
        "absolute differences": lambda a, b, t: interval(
            np.maximum(a, b), np.minimum(a, b), t
        ),
        "second minus first": lambda a, b, t: interval(a, b, t, sign=-1),
        "no differences": lambda a, b, t: interval(a, 0 * b, t),
        "sum for mean": edited(
            interval, ("return mean,", "return mean * len(d),")
        ),
        "grows with n": lambda a, b, t: interval(
            a, b, t, divide=lambda n: 1 / math.sqrt(n)
        ),
        "spread left out": edited(interval, ("t * math.sqrt(var)", "t")),
    },
    "18.2": {
        "one side": lambda d: flips(
            d, lambda s, seen: s * math.copysign(1, seen) >= abs(seen)
        ),
        "only more extreme": lambda d: flips(
            d, lambda s, seen: abs(s) > abs(seen)
        ),
        "the data not counted": lambda d: (
            (flips(d) * 2 ** len(d) - 1) / 2 ** len(d)
        ),
        "random signs": drawn,
        "the others": lambda d: 1 - flips(d),
        "count, not share": lambda d: flips(d, scale=2 ** len(d)),
        "sizes ignored": lambda d: flips(np.sign(d).tolist()),
        "data with its sign": lambda d: flips(
            d, better=lambda s, seen: abs(s) >= seen
        ),
        "a mean against sums": lambda d: flips(
            d, better=lambda s, seen: abs(s) >= abs(seen) / len(d)
        ),
        "differences left out": edited(
            flips,
            ("found = sums(d)", "found = [(s + sum(d)) / 2 for s in sums(d)]"),
        ),
        "signs added": edited(
            flips,
            (
                "found = sums(d)",
                "found = [sum(d) + s for s in sums([1.0] * len(d))]",
            ),
        ),
        "signs not used": lambda d: 1.0,
        "less one-sided": lambda d: flips(
            d, better=lambda s, seen: abs(s) <= abs(seen)
        ),
    },
    "18.3": {
        "sign of the mean": lambda a, b, t: each(a, b, 0),
        "signs exchanged": lambda a, b, t: -each(a, b, t),
        "interval of one run": lambda a, b, t: each(a, b, t * len(a) ** 0.5),
        "pairs ignored": lambda a, b, t: each(a, b, t, unpaired),
        "divides by n": lambda a, b, t: each(
            a, b, t, lambda x, y, t: interval(x, y, t, ddof=0)
        ),
        "root of n - 1": lambda a, b, t: each(
            a, b, t * math.sqrt(len(a) / (len(a) - 1))
        ),
        "t forgotten": lambda a, b, t: each(a, b, 1.0),
        "all numbers counted": lambda a, b, t: each(
            a,
            b,
            t,
            lambda x, y, t: interval(
                x, y, t, divide=lambda n: math.sqrt(n * a.shape[1])
            ),
        ),
        "axis of the moments": lambda a, b, t: each(a.T, b.T, t),
        "floats": lambda a, b, t: np.array([1.0 * x for x in each(a, b, t)]),
        "one interval for all": one_interval,
        "no differences": lambda a, b, t: each(a, 0 * b, t),
        "sum for mean": lambda a, b, t: each(
            a,
            b,
            t,
            one=lambda *x: (interval(*x)[0] * len(x[0]), interval(*x)[1]),
        ),
        "the wrong way round": lambda a, b, t: np.where(
            each(a, b, t), 0, np.sign((a - b).mean(0)).astype(int)
        ),
        "one side": lambda a, b, t: np.maximum(each(a, b, t), 0),
    },
    "18.4": {
        "point after": lambda k, x, g: walk(k, x, g, share=lambda p: 1),
        "point before": lambda k, x, g: walk(k, x, g, share=lambda p: 0),
        "last crossing": from_the_end,
        "only touched": lambda k, x, g: walk(k, x, g - 1e-15),
        "judged by the last loss": lambda k, x, g: (
            walk(k, x, g) if x[-1] <= g else math.inf
        ),
        "never becomes the start": lambda k, x, g: walk(k, x, g, never=k[0]),
        "index -1": around,
        "index, not tokens": lambda k, x, g: walk(range(len(k)), x, g),
        "never becomes the end": lambda k, x, g: walk(k, x, g, never=k[-1]),
        "line prolonged": prolonged,
        "np.interp on a falling curve": lambda k, x, g: float(
            np.interp(np.array([g]), x, k)[0]
        ),
        "np.interp on a reversed curve": lambda k, x, g: float(
            np.interp([g], np.flip(x), np.flip(k))[0]
        ),
        "line run backwards": lambda k, x, g: walk(
            k, x, g, share=lambda p: 1 - p
        ),
        "share rounded down": lambda *x: walk(*x, share=math.floor),
        "share upside down": lambda *x: walk(*x, share=lambda p: 1 / p),
        "a loss for a share": edited(walk, (" / fall", "")),
        "negative share": lambda *x: walk(*x, share=lambda p: -p),
        "measured from the later point": lambda *x: walk(
            *x, share=lambda p: p - 1
        ),
        "divided by a loss": edited(
            walk, ("fall = losses[i - 1] - losses[i]", "fall = losses[i - 1]")
        ),
        "not from the goal": edited(
            walk, ("(losses[i - 1] - goal) / fall", "losses[i - 1] / fall")
        ),
        "from the wrong point": edited(
            walk, ("(1 - p) * tokens[i - 1]", "tokens[i] - p * tokens[i - 1]")
        ),
        "start left out": edited(
            walk, ("(1 - p) * tokens[i - 1]", "-p * tokens[i - 1]")
        ),
        "share without a distance": edited(
            walk,
            ("(1 - p) * tokens[i - 1] + p * tokens[i]", "tokens[i - 1] + p"),
        ),
        "other points": edited(
            walk, ("fall = losses[i - 1]", "fall = losses[i - 2]")
        ),
        "first above": edited(
            walk,
            ("losses[0] <= goal", "losses[0] >= goal"),
            ("losses[i] <= goal", "losses[i] >= goal"),
        ),
    },
}
