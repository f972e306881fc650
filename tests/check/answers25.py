"""Chapter 25: right and wrong answers written another way than ours."""

import math
from functools import partial

import numpy as np

from minidiff.check.edited import edited


def as_int8(number):
    return (int(number) + 128) % 256 - 128


def by_token(x, top=127, size=None, whole=round, back=lambda s: s):
    """Loop over tokens."""
    codes, scales = [], []
    for row in x.tolist():
        largest = size(row, x) if size else max(abs(a) for a in row)
        scale = largest / top
        codes.append([as_int8(whole(a / scale)) for a in row])
        scales.append([back(scale)])
    return np.array(codes, dtype=np.int8), np.array(scales)


def by_column(x):
    codes, scales = by_token(x.T)
    return codes.T.copy(), scales.T.copy()


def vectors(lam, outputs, errors, power=1, parts=("error", "output"), **how):
    """Draw the vectors in a plane, and measure them."""
    sign, angle = how.get("sign", -1), how.get("angle", lambda c: c)

    def norm(cosine):
        cosine = angle(cosine)
        sine = math.sqrt(1 - cosine**2)
        across = 1 + sign * lam * cosine
        return math.hypot(across, lam * sine) ** power

    error = how.get("error", norm)(errors) if "error" in parts else 1.0
    return error / (norm(outputs) if "output" in parts else 1.0)


def plain_lambda(lam, outputs, errors):
    return math.sqrt(1 + lam * (1 - 2 * errors)) / math.sqrt(
        1 + lam * (1 - 2 * outputs)
    )


def one_mixed_term(lam, outputs, errors):
    top, bottom = (1 + lam * lam - lam * c for c in (errors, outputs))
    return math.sqrt(top / bottom)


def summed(
    maps,
    lam,
    v,
    factor=lambda lam: 1 - lam,
    whole=round,
    wrap=lambda total: total,
    weight=lambda a: a,
    shared=False,
    sign=-1,
):
    """Loop over rows and channels, with sums of Python's integers."""
    A = [
        [weight(a + sign * lam * b) for a, b in zip(*rows, strict=True)]
        for rows in zip(*maps.tolist(), strict=True)
    ]
    everything = max(abs(a) for row in A for a in row)
    out = np.zeros((len(A), v.shape[1]))
    for j, channel in enumerate(v.T.tolist()):
        mean = sum(channel) / len(channel)
        rest = [x - mean for x in channel]
        up = max(abs(x) for x in rest) / 127
        for i, row in enumerate(A):
            left = (everything if shared else max(abs(a) for a in row)) / 127
            total = sum(
                whole(a / left) * whole(x / up)
                for a, x in zip(row, rest, strict=True)
            )
            out[i, j] = wrap(total) * left * up + factor(lam) * mean
    return out


def twice(maps, lam, v):
    one, two = (
        summed(np.stack([A, A]), 0.0, v, factor=lambda lam: 1.0) for A in maps
    )
    return one - lam * two


def with_mean(maps, lam, v):
    """Put the values beside their negatives: their mean is 0."""
    none = np.zeros_like(maps)
    wide = np.concatenate([maps, none], axis=2)
    return summed(wide, lam, np.concatenate([v, -v]), factor=lambda lam: 0.0)


def token_scales(maps, lam, v):
    mean = v.mean(0)
    codes, scales = by_token(maps[0] - lam * maps[1])
    theirs, sizes = by_token(v - mean)
    near = np.einsum("ts,sd->td", codes * scales, theirs * sizes)
    return near + (1 - lam) * mean


RIGHT = {"25.1": by_token, "25.2": vectors, "25.3": summed}

WRONG = {
    "25.1": {
        "128": partial(by_token, top=128),
        "one scale for all": partial(
            by_token, size=lambda row, x: float(abs(x).max())
        ),
        "largest with its sign": partial(
            by_token, size=lambda row, x: max(row)
        ),
        "cut off": partial(by_token, whole=int),
        "scales inverted": partial(by_token, back=lambda s: 1 / s),
        "a scale for each channel": by_column,
        "another largest integer": partial(by_token, top=126),
        "scales upside down": edited(
            by_token, ("largest / top", "top / largest")
        ),
        "smallest number": partial(
            by_token, size=lambda row, x: min(map(abs, row))
        ),
        "not divided by the scale": edited(by_token, ("a / scale)", "a)")),
    },
    "25.2": {
        "squares": partial(vectors, power=2),
        "upside down": partial(vectors, power=-1),
        "output ignored": partial(vectors, parts=("error",)),
        "error ignored": partial(vectors, parts=("output",)),
        "errors always independent": lambda lam, o, e: vectors(lam, o, 0),
        "worst case": lambda lam, o, e: vectors(lam, o, -1),
        "sum": partial(vectors, sign=1),
        "lambda not squared": plain_lambda,
        "mixed term once": one_mixed_term,
        "one square": lambda lam, o, e: (
            vectors(lam, o, e) / vectors(lam, o, o, parts=("error",))
        ),
        "sign of one mixed term": lambda lam, o, e: vectors(lam, o, -e),
        "lambda not squared in one": lambda lam, o, e: (
            vectors(lam, o, e)
            * np.sqrt((1 + lam**2 - 2 * lam * o) / (1 + lam - 2 * lam * o))
        ),
        "a length left out": lambda lam, o, e: (
            np.sqrt(1 - 2 * lam * e) * vectors(lam, o, 0, error=lambda c: 1.0)
        ),
        "one mixed term": lambda lam, o, e: vectors(lam, o / 2, e),
        "multiplied": lambda lam, o, e: (
            vectors(lam, o, e) * vectors(lam, o, o, parts=("error",)) ** 2
        ),
    },
    "25.3": {
        "the whole mean": partial(summed, factor=lambda lam: 1),
        "no mean": partial(summed, factor=lambda lam: 0),
        "mean of the sum": partial(summed, factor=lambda lam: 1 + lam),
        "not centred": with_mean,
        "two maps in int8": twice,
        "sums in int8": partial(summed, wrap=as_int8),
        "negative weights lost": partial(summed, weight=lambda a: max(a, 0)),
        "one scale for the map": partial(summed, shared=True),
        "a scale for each token of v": token_scales,
        "cut off": partial(summed, whole=int),
        "sum of maps": partial(summed, sign=1),
        "exact": lambda maps, lam, v: maps[0] @ v - lam * (maps[1] @ v),
        "one mean for all channels": edited(
            summed, ("sum(channel) / len(channel)", "float(v.mean())")
        ),
        "one map": lambda maps, lam, v: summed(
            maps[[0, 0]] * [[[1]], [[0]]], lam, v
        ),
        "lambda dropped in the map": edited(
            summed, ("sign * lam * b", "sign * b")
        ),
        "maps swapped": lambda maps, *a: summed(maps[::-1], *a),
        "mean with the wrong sign": edited(summed, ("x - mean", "x + mean")),
        "mean with another factor": partial(summed, factor=lambda lam: lam),
        "scaled back wrongly": edited(summed, ("* left * up", "* left")),
        "another largest integer": edited(summed, ("/ 127", "/ 128")),
        "scales upside down": edited(
            summed,
            (
                "max(abs(x) for x in rest) / 127",
                "127 / max(abs(x) for x in rest)",
            ),
        ),
        "largest of another kind": edited(
            summed, ("max(abs(x) for x in rest)", "max(rest)")
        ),
        "one of them cut off": edited(
            summed, ("whole(a / left)", "int(a / left)")
        ),
        "codes without scales": edited(summed, ("whole(x / up)", "whole(x)")),
    },
}
