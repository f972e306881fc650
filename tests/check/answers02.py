"""Chapter 02: right and wrong answers written another way than ours."""

import math
from statistics import mean, median

import numpy as np


def row(lift, n, m):
    e = np.exp(np.array([float(lift)] * m + [0.0] * n))
    return e / e.sum()


def logit(p):
    return math.log(p) - math.log(1 - p)


def shares(lift, noise):
    found = []
    for scores in noise:
        e = [math.exp(s) for s in scores]
        found.append(math.exp(lift) / (math.exp(lift) + sum(e)))
    return found


def in_place_of_first(lift, noise, keep):
    total = 0.0
    for scores in noise:
        first = math.exp(lift + (scores[0] if keep else 0.0))
        total += first / (first + np.exp(scores[1:]).sum())
    return total / len(noise)


def floor(lift, sigma, n, x):
    """Equation 2.3 at coldness x."""
    against = n * math.exp((sigma * x) ** 2 / 2)
    return math.exp(lift * x) / (math.exp(lift * x) + against)


def at(x):
    """An answer that takes x(lift, sigma) for the best coldness."""
    return lambda d, s, n: (1 / x(d, s), floor(d, s, n, x(d, s)))


def sums(a, b, needle, skip=True):
    """The sums of a*a, a*b and b*b, with or without the needle."""
    keys = [i for i in range(len(a)) if not (skip and i == needle)]
    return (
        sum(a[i] * a[i] for i in keys),
        sum(a[i] * b[i] for i in keys),
        sum(b[i] * b[i] for i in keys),
    )


def slope(a, b, needle):
    keep = np.arange(len(a)) != needle
    cov = np.mean(a[keep] * b[keep]) - np.mean(a[keep]) * np.mean(b[keep])
    with np.errstate(all="ignore"):
        return cov / np.float64(np.mean(b[keep] ** 2) - np.mean(b[keep]) ** 2)


def solve(a, b, needle):
    keep = np.arange(len(a)) != needle
    return np.linalg.lstsq(b[keep][:, None], a[keep], rcond=None)[0][0]


RIGHT = {
    "2.1": lambda d, n, m=1: row(d, n, m)[:m].sum(),
    "2.2": lambda p, n: math.log(n) + logit(p),
    "2.3": lambda d, z: mean(shares(d, z)),
    "2.4": at(lambda d, s: d / s**2),
    "2.5": solve,
}

WRONG = {
    "2.1": {
        "needles ignored": lambda d, n, m: row(d, n, 1)[0],
        "one of them": lambda d, n, m: row(d, n, m)[0],
        "others left out": lambda d, n, m: m * row(d, n, 1)[0],
        "needles counted twice": lambda d, n, m: row(d, n - m, m)[:m].sum(),
        "odds": lambda d, n, m: m / (n * math.exp(-d)),
        "no exponential": lambda d, n, m: 1 - n / (m * d + n),
        "no exponential for distractors": lambda d, n, m: row(d, 0, m).sum(),
        "lifts added": lambda d, n, m: row(d * m, n, 1)[0],
        "sign": lambda d, n, m: row(-d, n, m)[:m].sum(),
        "needles beside the distractors": lambda d, n, m: row(d, m * n, 1)[0],
        "other needles are distractors": lambda d, n, m: row(d, n + m - 1, 1)[
            0
        ],
        "one distractor too few": lambda d, n, m: row(d, n - 1, m)[:m].sum(),
        "the noise": lambda d, n, m: row(d, n, m)[m:].sum(),
        "one by one": lambda d, n, m: row(d, n, m)[:m],
    },
    "2.2": {
        "share ignored": lambda p, n: -math.log(1 / n),
        "distractors ignored": lambda p, n: logit(p),
        "not divided by the rest": lambda p, n: math.log(p) + math.log(n),
        "odds upside down": lambda p, n: math.log(n) - logit(p),
        "sign": lambda p, n: -math.log(n) - logit(p),
        "no logarithm": lambda p, n: 1 / ((1 / p - 1) / n),
        "base ten": lambda p, n: (math.log(n) + logit(p)) / math.log(10),
        "base two": lambda p, n: (math.log(n) + logit(p)) / math.log(2),
        "needle counted": lambda p, n: math.log(n - 1) + logit(p),
        "needle added": lambda p, n: math.log(n + 1) + logit(p),
        "divided by the share": lambda p, n: -math.log(p / n),
        "only the rest": lambda p, n: math.log(n) - math.log(1 - p),
        "distractors subtracted": lambda p, n: logit(p) - math.log(n),
    },
    "2.3": {
        "mean noise": lambda d, z: shares(d, [z.mean(axis=0)])[0],
        "mean inside": lambda d, z: 1 / mean(1 / x for x in shares(d, z)),
        "the formula": lambda d, z: floor(d, z.std(), z.shape[1], 1),
        "first key replaced": lambda d, z: in_place_of_first(d, z, False),
        "first key raised": lambda d, z: in_place_of_first(d, z, True),
        "needle left out of the sum": lambda d, z: mean(
            x / (1 - x) for x in shares(d, z)
        ),
        "no mean": lambda d, z: np.array(shares(d, z)),
        "median": lambda d, z: median(shares(d, z)),
        "one sum": lambda d, z: shares(d, [z.ravel()])[0],
        "wrong axis": lambda d, z: (
            lambda e: (e / e.sum(axis=0))[:, -1].mean()
        )(np.exp(np.insert(z, z.shape[1], d, axis=1))),
        "no noise": lambda d, z: shares(d, 0 * z)[0],
        "mean of the distractors": lambda d, z: mean(
            shares(d + math.log(z.shape[1]), z)
        ),
        "sum of the shares": lambda d, z: sum(shares(d, z)),
        "another column": lambda d, z: mean(
            math.exp(x[-1]) / (math.exp(d) + np.exp(x).sum()) for x in z
        ),
        "loudest key": lambda d, z: mean(
            math.exp(max(d, *x)) / (math.exp(d) + np.exp(x).sum()) for x in z
        ),
        "every weight": lambda d, z: np.mean([row(0, z.shape[1], 1)] * len(z)),
    },
    "2.4": {
        "upside down, floor right": lambda d, s, n: (
            d * s**-2,
            floor(d, s, n, d / s**2),
        ),
        "upside down": at(lambda d, s: s**2 / d),
        "sigma not squared": at(lambda d, s: d / s),
        "break-even": at(lambda d, s: 2 * d / s**2),
        "half lost": at(lambda d, s: d / s**2 / 2),
        "price like one over tau": lambda d, s, n: (
            s * s / d,
            floor(d, s * math.sqrt(s * s / d), n, d / s**2),
        ),
        "noise left at one": lambda d, s, n: (
            s * s / d,
            floor(d * d / s**2, s, n, 1),
        ),
        "noise left out": lambda d, s, n: (
            s * s / d,
            row(d * d / s**2, n, 1)[0],
        ),
        "floor at one": lambda d, s, n: (s * s / d, floor(d, s, n, 1)),
        "lift left at one": lambda d, s, n: (
            s * s / d,
            floor(d, d / s, n, 1),
        ),
        "distractors left out": lambda d, s, n: (
            s * s / d,
            floor(d, s, 1, d / s**2),
        ),
        "sign of the exponent": lambda d, s, n: (
            s * s / d,
            row(-d * d / s**2 / 2, n, 1)[0],
        ),
        "only tau": lambda d, s, n: s * s / d,
        "swapped": lambda d, s, n: (floor(d, s, n, d / s**2), s * s / d),
    },
    "2.5": {
        "needle included": lambda a, b, i: (
            sums(a, b, i, False)[1] / sums(a, b, i, False)[2]
        ),
        "needle in one sum": lambda a, b, i: (
            sums(a, b, i)[1] / sums(a, b, i, False)[2]
        ),
        "other way round": lambda a, b, i: solve(b, a, i),
        "ratio of sums": lambda a, b, i: (sum(a) - a[i]) / (sum(b) - b[i]),
        "ratio of sizes": lambda a, b, i: (
            math.sqrt(sums(a, b, i)[0]) / math.sqrt(sums(a, b, i)[2])
        ),
        "mean of ratios": lambda a, b, i: mean(
            x / y for k, (x, y) in enumerate(zip(a, b, strict=True)) if k != i
        ),
        "cosine": lambda a, b, i: (
            sums(a, b, i)[1]
            / math.sqrt(sums(a, b, i)[0])
            / math.sqrt(sums(a, b, i)[2])
        ),
        "means removed": slope,
        "sign": lambda a, b, i: solve(-a, b, i),
        "twice": lambda a, b, i: 2 * solve(a, b, i),
        "half": lambda a, b, i: solve(a / 2, b, i),
        "upside down": lambda a, b, i: 1 / solve(a, b, i),
        "needle in the product": lambda a, b, i: (
            sums(a, b, i, False)[1] / sums(a, b, i)[2]
        ),
        "first key left out": lambda a, b, i: solve(a, b, 0),
        "divided by the size": lambda a, b, i: (
            solve(a, b, i) * math.sqrt(sums(a, b, i)[2])
        ),
        "needle silenced": lambda a, b, i: math.exp(
            math.log(a[i]) - math.log(b[i])
        ),
        "the noise that is left": lambda a, b, i: sums(
            a - solve(a, b, i) * b, b, i
        )[0],
        "array of one": lambda a, b, i: np.full(1, solve(a, b, i)),
        "one minus the needle": lambda a, b, i: sum(a) - a[i],
    },
}
