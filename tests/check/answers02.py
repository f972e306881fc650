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


def kept(a, b, needle):
    """Both arrays without the needle's column."""
    keep = np.arange(a.shape[1]) != needle
    return a[:, keep], b[:, keep]


def popped(a, n):
    rows = list(a)
    rows.pop(n)
    return np.array(rows)


def pairs(a, b, needle):
    return zip(*kept(a, b, needle), strict=True)


def columns(a, b, needle):
    return zip(*(x.T for x in kept(a, b, needle)), strict=True)


def share(x, y, lam):
    """What is left of x's squares when lam y is subtracted."""
    return np.linalg.norm(x - lam * y) ** 2 / np.linalg.norm(x) ** 2


def least(x, y):
    """The best lambda by least squares, and its share."""
    solved = np.linalg.lstsq(y.reshape(-1, 1), x.ravel(), rcond=None)[0]
    return solved[0], share(x, y, solved[0])


def with_lam(a, b, needle, lam):
    return lam, share(*kept(a, b, needle), lam)


def remainder(a, b, needle):
    x, y = kept(a, b, needle)
    return (x - least(x, y)[0] * y).ravel()


RIGHT = {
    "2.1": lambda d, n, m=1: row(d, n, m)[:m].sum(),
    "2.2": lambda p, n: math.log(n) + logit(p),
    "2.3": lambda d, z: mean(shares(d, z)),
    "2.4": lambda a, b, i: least(*kept(a, b, i)),
}

WRONG = {
    "2.1": {
        "needles and lift added": lambda lift, n, m: (
            1 - n / (n + m + math.exp(lift))
        ),
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
        "odds of the product": lambda p, n: np.log(n * p) - np.log1p(-n * p),
        "n outside the logarithm": lambda p, n: logit(p) * n,
        "distractors subtracted": lambda p, n: logit(p) - math.log(n),
    },
    "2.3": {
        "mean noise": lambda d, z: shares(d, [z.mean(axis=0)])[0],
        "mean inside": lambda d, z: 1 / mean(1 / x for x in shares(d, z)),
        "the formula": lambda d, z: shares(d - z.std() ** 2 / 2, 0 * z)[0],
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
        "one distractor at a time": lambda d, z: mean(
            shares(d, z.reshape(-1, 1))
        ),
        "no needle": lambda d, z: mean(
            math.exp(x[0]) / sum(math.exp(y) for y in x) for x in z
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
        "needle included": lambda a, b, i: least(a, b),
        "one entry deleted": lambda a, b, i: least(
            np.r_[a.ravel()[:i], a.ravel()[i + 1 :]],
            np.r_[b.ravel()[:i], b.ravel()[i + 1 :]],
        ),
        "a row deleted": lambda a, b, i: least(popped(a, i), popped(b, i)),
        "first key left out": lambda a, b, i: least(*kept(a, b, 0)),
        "mean of the rows' lambdas": lambda a, b, i: with_lam(
            a, b, i, mean(float(least(x, y)[0]) for x, y in pairs(a, b, i))
        ),
        "a lambda for each row": lambda a, b, i: (
            np.array([least(x, y)[0] for x, y in pairs(a, b, i)]),
            least(*kept(a, b, i))[1],
        ),
        "a lambda for each key": lambda a, b, i: with_lam(
            a,
            b,
            i,
            np.array([least(x, y)[0] for x, y in columns(a, b, i)]),
        ),
        "matrix product": lambda a, b, i: with_lam(
            a,
            b,
            i,
            np.dot(*(x.sum(0) for x in kept(a, b, i)))
            / np.linalg.norm(kept(a, b, i)[1].sum(0)) ** 2,
        ),
        "square of the sum": lambda a, b, i: with_lam(
            a,
            b,
            i,
            np.vdot(*kept(a, b, i)) / np.sum(kept(a, b, i)[1]) ** 2,
        ),
        "not squared": lambda a, b, i: (
            least(*kept(a, b, i))[0],
            np.sum(remainder(a, b, i)) / np.sum(kept(a, b, i)[0]),
        ),
        "other way round": lambda a, b, i: with_lam(
            a, b, i, least(*kept(b, a, i))[0]
        ),
        "ratio of sums": lambda a, b, i: with_lam(
            a, b, i, (a.sum() - a[:, i].sum()) / (b.sum() - b[:, i].sum())
        ),
        "ratio of sizes": lambda a, b, i: with_lam(
            a, b, i, np.divide(*(np.linalg.norm(x) for x in kept(a, b, i)))
        ),
        "mean of ratios": lambda a, b, i: with_lam(
            a, b, i, mean(np.divide(*kept(a, b, i)).ravel().tolist())
        ),
        "cosine": lambda a, b, i: with_lam(
            a,
            b,
            i,
            math.sqrt(least(*kept(a, b, i))[0] * least(*kept(b, a, i))[0]),
        ),
        "sign": lambda a, b, i: with_lam(a, b, i, least(*kept(-a, b, i))[0]),
        "twice": lambda a, b, i: with_lam(
            a, b, i, least(*kept(2 * a, b, i))[0]
        ),
        "half": lambda a, b, i: with_lam(
            a, b, i, least(*kept(a, 2 * b, i))[0]
        ),
        "upside down": lambda a, b, i: with_lam(
            a, b, i, 1 / least(*kept(a, b, i))[0]
        ),
        "divided by the size": lambda a, b, i: with_lam(
            a,
            b,
            i,
            least(*kept(a, b, i))[0] * np.linalg.norm(kept(a, b, i)[1]),
        ),
        "the noise itself": lambda a, b, i: (
            least(*kept(a, b, i))[0],
            least(*kept(a, b, i))[1] * np.linalg.norm(kept(a, b, i)[0]) ** 2,
        ),
        "the share removed": lambda a, b, i: (
            least(*kept(a, b, i))[0],
            1 - least(*kept(a, b, i))[1],
        ),
        "root of the share": lambda a, b, i: (
            least(*kept(a, b, i))[0],
            math.sqrt(least(*kept(a, b, i))[1]),
        ),
        "absolute values": lambda a, b, i: (
            least(*kept(a, b, i))[0],
            np.linalg.norm(remainder(a, b, i), 1)
            / np.linalg.norm(kept(a, b, i)[0].ravel(), 1),
        ),
        "mean of the rows' shares": lambda a, b, i: (
            least(*kept(a, b, i))[0],
            mean(
                with_lam(x[None], y[None], i, least(*kept(a, b, i))[0])[1]
                for x, y in zip(a, b, strict=True)
            ),
        ),
        "share of A2": lambda a, b, i: (
            least(*kept(a, b, i))[0],
            np.linalg.norm(remainder(a, b, i)) ** 2
            / np.linalg.norm(kept(a, b, i)[1]) ** 2,
        ),
        "needle in the share": lambda a, b, i: (
            least(*kept(a, b, i))[0],
            share(a, b, least(*kept(a, b, i))[0]),
        ),
        "swapped": lambda a, b, i: (
            least(*kept(a, b, i))[1],
            least(*kept(a, b, i))[0],
        ),
        "only lam": lambda a, b, i: least(*kept(a, b, i))[0],
        "in one array": lambda a, b, i: np.array(least(*kept(a, b, i))),
    },
}
