"""Exercise 25.3: the difference of two maps times the values, in int8."""

from collections.abc import Callable

import numpy as np

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.check.edited import slip


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
    for T, S, Dv, lam in (
        (2, 3, 2, 0.5),
        (3, 5, 4, 0.8),
        (4, 9, 3, 0.25),
        (3, 4, 2, 0.9),  # in a row the largest weight is negative
    ):
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
        slip(
            "one mean for all channels",
            "Your mean is not that of each channel over the tokens: axis 0, "
            "and divided by S.",
            int8_values,
            ("v.mean(axis=0)", "v.mean()"),
            ("v.mean(axis=0)", "v.sum(axis=0)"),
        ),
        slip(
            "one map",
            "One of the two maps is missing, or stands in both places.",
            int8_values,
            ("maps[0] - lam * maps[1]", "maps[0]"),
            ("maps[0] - lam * maps[1]", "lam * maps[1]"),
            ("maps[0] - lam * maps[1]", "maps[0] - lam * maps[0]"),
            ("maps[0] - lam * maps[1]", "maps[1] - lam * maps[1]"),
        ),
        slip(
            "lambda dropped in the map",
            "The second map is not weighed by lam.",
            int8_values,
            ("lam * maps[1]", "maps[1]"),
            ("lam * maps[1]", "(lam + maps[1])"),
            ("lam * maps[1]", "lam"),
        ),
        slip(
            "maps swapped",
            "Your map or your centred values have the wrong sign. The map is "
            "the first one minus lam times the second.",
            int8_values,
            ("maps[0] - lam * maps[1]", "lam * maps[1] - maps[0]"),
            ("maps[0] - lam * maps[1]", "maps[1] - lam * maps[0]"),
        ),
        slip(
            "mean with the wrong sign",
            "The mean is added to v, or v is subtracted from it. The codes "
            "are those of v minus its mean.",
            int8_values,
            ("v - mean", "v + mean"),
        ),
        slip(
            "mean with another factor",
            "The mean is multiplied by another factor. Multiply it by each "
            "weight of a row of A1 - lam A2, and add up.",
            int8_values,
            ("(1 - lam) * mean", "lam * mean"),
            ("(1 - lam) * mean", "(lam - 1) * mean"),
            ("(1 - lam) * mean", "(2 - lam) * mean"),
            ("(1 - lam) * mean", "(-lam) * mean"),
            ("(1 - lam) * mean", "(1 - lam)"),
            ("(1 - lam) * mean", "(1 - lam) / mean"),
            ("(1 - lam) * mean", "(1 - lam + mean)"),
        ),
        slip(
            "scaled back wrongly",
            "You do not scale the sums back by both scales: a row's and a "
            "channel's, each once.",
            int8_values,
            ("* rows * channels", "* rows"),
            ("* rows * channels", "* channels"),
            ("* rows * channels", ""),
            ("* rows * channels", "/ rows * channels"),
            ("* rows * channels", "* rows / channels"),
            ("* rows * channels", "* (rows + channels)"),
        ),
        slip(
            "another largest integer",
            "Your scales give the largest number another code than 127, in "
            "the map or in the values.",
            int8_values,
            ("keepdims=True) / 127", "keepdims=True) / 128"),
            ("max(axis=0) / 127", "max(axis=0) / 128"),
            ("/ 127", "/ 128"),
            ("keepdims=True) / 127", "keepdims=True) / 126"),
            ("max(axis=0) / 127", "max(axis=0) / 126"),
            ("keepdims=True) / 127", "keepdims=True)"),
            ("max(axis=0) / 127", "max(axis=0)"),
            ("/ 127", ""),
        ),
        slip(
            "scales upside down",
            "A scale is the number that one code stands for: the largest "
            "number over 127. One of yours is upside down.",
            int8_values,
            (
                "np.abs(A).max(axis=1, keepdims=True) / 127",
                "127 / np.abs(A).max(axis=1, keepdims=True)",
            ),
            (
                "np.abs(centred).max(axis=0) / 127",
                "127 / np.abs(centred).max(axis=0)",
            ),
            ("keepdims=True) / 127", "keepdims=True) * 127"),
            ("max(axis=0) / 127", "max(axis=0) * 127"),
        ),
        slip(
            "largest of another kind",
            "A scale of yours is not made from the largest absolute number "
            "of its row or channel.",
            int8_values,
            ("np.abs(A).max(", "np.abs(A).min("),
            ("np.abs(centred).max(", "np.abs(centred).min("),
            ("np.abs(centred).max(", "centred.max("),
            ("np.abs(A).max(", "A.max("),
            ("np.abs(centred).max(axis=0)", "np.abs(centred).max()"),
        ),
        slip(
            "one of them cut off",
            "One of the two is cut off, or rounded before it is divided by "
            "its scale. Divide, round to the nearest integer, then cast.",
            int8_values,
            ("np.round(A / rows)", "(A / rows)"),
            ("np.round(centred / channels)", "(centred / channels)"),
            ("np.round(A / rows)", "np.round(A // rows)"),
            ("np.round(centred / channels)", "np.round(centred // channels)"),
        ),
        slip(
            "codes without scales",
            "You round numbers that are not divided by their scale: the "
            "codes go from -127 to 127.",
            int8_values,
            ("np.round(A / rows)", "np.round(A)"),
            ("np.round(centred / channels)", "np.round(centred)"),
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
