"""Exercises 18.1 and 18.2: answers written another way than ours."""

import math
import statistics


def sigma(values):
    return statistics.stdev(values)


def differences(a, b):
    return [x - y for x, y in zip(a, b, strict=True)]


def count(spread, gap, up=math.ceil):
    return up(4 * spread**2 / gap**2)


def spread(values, n=None, divide=math.sqrt, t=2.776):
    n = n or len(values) - 1
    mean = sum(values) / len(values)
    s = math.sqrt(sum((x - mean) ** 2 for x in values) / n)
    return mean, t * s / divide(len(values))


RIGHT = {
    "18.1": lambda a, b, gap: count(sigma(differences(a, b)), gap),
    "18.2": spread,
}

WRONG = {
    "18.1": {
        "not paired": lambda a, b, gap: math.ceil(
            4 * (statistics.variance(a) + statistics.variance(b)) / gap**2
        ),
        "one side": lambda a, b, gap: count(sigma(a), gap),
        "difference of spreads": lambda a, b, gap: count(
            sigma(b) - sigma(a), gap
        ),
        "divides by K": lambda a, b, gap: count(
            statistics.pstdev(differences(a, b)), gap
        ),
        "variance": lambda a, b, gap: count(
            statistics.variance(differences(a, b)), gap
        ),
        "not squared": lambda a, b, gap: math.ceil(
            sigma(differences(a, b)) * 2 / gap
        ),
        "factor 2": lambda a, b, gap: count(sigma(differences(a, b)) / 2, gap),
        "2 not squared": lambda a, b, gap: math.ceil(
            2 * sigma(differences(a, b)) ** 2 / gap**2
        ),
        "rounded down": lambda a, b, gap: count(
            sigma(differences(a, b)), gap, up=math.floor
        ),
        "one too many": lambda a, b, gap: count(
            sigma(differences(a, b)), gap, up=lambda n: math.floor(n) + 1
        ),
        "1.96": lambda a, b, gap: count(0.98 * sigma(differences(a, b)), gap),
        "not whole": lambda a, b, gap: count(
            sigma(differences(a, b)), gap, up=float
        ),
        "gap of the trial": lambda a, b, gap: count(
            sigma(differences(a, b)), statistics.mean(differences(a, b))
        ),
    },
    "18.2": {
        "divides by n": lambda v: spread(v, n=5),
        "spread of one run": lambda v: spread(v, divide=lambda n: 1),
        "divided by five": lambda v: spread(v, divide=lambda n: n),
        "normal instead of t": lambda v: spread(v, t=1.96),
        "full width": lambda v: spread(v, t=2 * 2.776),
        "two ends": lambda v: (
            spread(v)[0] - spread(v)[1],
            sum(spread(v)),
        ),
        "root of n - 1": lambda v: spread(v, divide=lambda n: 2),
    },
}
