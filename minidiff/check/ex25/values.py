"""Exercise 25.3: the difference of two maps times the values, in int8."""

from collections.abc import Callable

import numpy as np

from minidiff.check.core import Case, Exercise, Mistake


def int8_values(maps: np.ndarray, lam: float, v: np.ndarray) -> np.ndarray:
    """Return (A1 - lam A2) v (T, Dv) through one product of int8 codes.

    maps (2, T, S): A1 and A2, whose rows sum to 1. v (S, Dv). Subtract from
    each channel of v its mean over the S tokens. Quantise the difference of
    the maps with a scale for each row, and the centred v with a scale for
    each channel: the largest absolute number of a row or channel becomes 127
    or -127, and numbers are rounded with np.round. The sums of products are
    whole numbers. Scale them back, and add what the mean contributes to the
    exact result.
    """
    mean = v.mean(axis=0)
    A, centred = maps[0] - lam * maps[1], v - mean
    rows = np.abs(A).max(axis=1, keepdims=True) / 127
    channels = np.abs(centred).max(axis=0) / 127
    left = np.round(A / rows).astype(np.int32)
    right = np.round(centred / channels).astype(np.int32)
    return (left @ right) * rows * channels + (1 - lam) * mean


def _cases() -> list[Case]:
    cases = []
    for T, S, Dv, lam in ((2, 3, 2, 0.5), (3, 5, 4, 0.8), (4, 9, 3, 0.25)):
        rng = np.random.default_rng(S)
        maps = rng.dirichlet(np.full(S, 0.5), size=(2, T))
        v = rng.normal(size=(S, Dv)) * np.arange(1, Dv + 1) + 3
        v[0] += 2
        name = f"T = {T}, S = {S}, Dv = {Dv}, lam = {lam}"
        cases.append(Case(name=name, args=(maps, lam, v)))
    return cases


Product = Callable[[np.ndarray, np.ndarray], np.ndarray]
Nearest = Callable[[np.ndarray], np.ndarray]


def _scale(x: np.ndarray, axis: int) -> np.ndarray:
    return np.asarray(np.abs(x).max(axis=axis, keepdims=True) / 127)


def _product(
    A: np.ndarray, v: np.ndarray, nearest: Nearest = np.round
) -> np.ndarray:
    a, b = _scale(A, 1), _scale(v, 0)
    return np.asarray((nearest(A / a) @ nearest(v / b)) * a * b)


def _with(
    product: Product = _product,
    back: Callable[[float], float] = lambda lam: 1 - lam,
    sign: int = -1,
) -> Callable[..., np.ndarray]:
    """Answer with another product, or another factor of the mean."""

    def answer(maps: np.ndarray, lam: float, v: np.ndarray) -> np.ndarray:
        mean = v.mean(axis=0)
        A = maps[0] + sign * lam * maps[1]
        return product(A, v - mean) + back(lam) * mean

    return answer


def _cut(A: np.ndarray, v: np.ndarray) -> np.ndarray:
    return _product(A, v, np.trunc)


def _wraps(A: np.ndarray, v: np.ndarray) -> np.ndarray:
    a, b = _scale(A, 1), _scale(v, 0)
    left = np.round(A / a).astype(np.int8)
    right = np.round(v / b).astype(np.int8)
    return np.asarray((left @ right) * a * b)


def _without_sign(A: np.ndarray, v: np.ndarray) -> np.ndarray:
    return _product(np.maximum(A, 0), v)


def _one_scale(A: np.ndarray, v: np.ndarray) -> np.ndarray:
    a, b = np.abs(A).max() / 127, _scale(v, 0)
    return np.asarray((np.round(A / a) @ np.round(v / b)) * a * b)


def _by_token(A: np.ndarray, v: np.ndarray) -> np.ndarray:
    a, b = _scale(A, 1), _scale(v, 1)
    return np.asarray((np.round(A / a) * a) @ (np.round(v / b) * b))


def _separately(maps: np.ndarray, lam: float, v: np.ndarray) -> np.ndarray:
    mean = v.mean(axis=0)
    first, second = (_product(A, v - mean) for A in maps)
    return np.asarray(first - lam * second + (1 - lam) * mean)


def _not_centred(maps: np.ndarray, lam: float, v: np.ndarray) -> np.ndarray:
    return _product(maps[0] - lam * maps[1], v)


def _exact(maps: np.ndarray, lam: float, v: np.ndarray) -> np.ndarray:
    return np.asarray((maps[0] - lam * maps[1]) @ v)


EXERCISE = Exercise(
    id="25.3",
    cases=_cases,
    solution=int8_values,
    mistakes=(
        Mistake(
            key="the whole mean",
            diagnosis="You add the whole mean, which is right for one map, "
            "whose rows sum to 1. What do the rows of A1 - lam A2 sum to?",
            wrong=_with(back=lambda lam: 1.0),
        ),
        Mistake(
            key="no mean",
            diagnosis="You do not add the mean back. A row of A1 - lam A2 "
            "does not sum to 0.",
            wrong=_with(back=lambda lam: 0.0),
        ),
        Mistake(
            key="mean of the sum",
            diagnosis="You add (1 + lam) times the mean. The second map is "
            "subtracted.",
            wrong=_with(back=lambda lam: 1 + lam),
        ),
        Mistake(
            key="not centred",
            diagnosis="You quantise v with its mean. Subtract it before, so "
            "that the codes are spent on what differs between tokens.",
            wrong=_not_centred,
        ),
        Mistake(
            key="two maps in int8",
            diagnosis="You quantise the two maps separately. Their errors "
            "are independent and do not cancel: subtract first, and quantise "
            "the one signed map.",
            wrong=_separately,
        ),
        Mistake(
            key="sums in int8",
            diagnosis="Your sums of products have wrapped around: the result "
            "of a product of int8 arrays is int8. Add up in int32.",
            wrong=_with(_wraps),
        ),
        Mistake(
            key="negative weights lost",
            diagnosis="You set negative weights to 0. The map is signed, and "
            "so are the codes.",
            wrong=_with(_without_sign),
        ),
        Mistake(
            key="one scale for the map",
            diagnosis="The whole map shares one scale. Each row has its own.",
            wrong=_with(_one_scale),
        ),
        Mistake(
            key="a scale for each token of v",
            diagnosis="You gave each token of v a scale. The product sums "
            "over tokens, so such a scale cannot be taken out of a sum of "
            "whole numbers: take one for each channel.",
            wrong=_with(_by_token),
        ),
        Mistake(
            key="cut off",
            diagnosis="You cut the codes off, as a cast to int8 does. Round "
            "first.",
            wrong=_with(_cut),
        ),
        Mistake(
            key="sum of maps",
            diagnosis="You add the maps. The second one is subtracted.",
            wrong=_with(sign=1),
            also=(_with(sign=1, back=lambda lam: 1 + lam),),
        ),
        Mistake(
            key="exact",
            diagnosis="That is the exact product: nothing is quantised.",
            wrong=_exact,
        ),
    ),
    hints=(
        "Write v as its mean plus the rest. What does (A1 - lam A2) make of "
        "a v that is the same at every token?",
        "Scales: np.abs(A).max(axis=1, keepdims=True) / 127 for the rows of "
        "A = A1 - lam A2, np.abs(centred).max(axis=0) / 127 for channels. "
        "Codes as np.int32, so that sums of products do not wrap around.",
        "(left @ right) * rows * channels + (1 - lam) * v.mean(axis=0), with "
        "left and right the codes of A and of the centred v.",
    ),
)
