"""Exercise 25.1: int8 codes with a scale for each token."""

from collections.abc import Callable

import numpy as np

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.check.edited import slip

Codes = tuple[np.ndarray, np.ndarray]


def int8_codes(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return int8 codes (T, D) and scales (T, 1) of T tokens x (T, D).

    codes * scales is x, up to rounding to the nearest integer (np.round).
    Each token has its own scale, with which its largest absolute number
    becomes 127 or -127. No token has only zeros.
    """
    scales = np.abs(x).max(axis=1, keepdims=True) / 127
    return np.round(x / scales).astype(np.int8), scales


def _cases() -> list[Case]:
    cases = []
    for T, D in ((2, 3), (3, 5), (6, 4)):
        rng = np.random.default_rng(T)
        x = rng.normal(size=(T, D)) * np.arange(1, T + 1)[:, None]
        x[0, 0] = -9.0  # the largest of all is negative
        x[1, 1] = 7.5
        cases.append(Case(name=f"T = {T}, D = {D}", args=(x,)))
    # np.round takes halves to the nearest even number.
    x = np.array([[127, 2.5, 0.5, -1.5], [6, 63.5, -0.25, 0.75]])
    return [*cases, Case(name="halves", args=(x,))]


def _with(
    scales: Callable[[np.ndarray], np.ndarray],
    nearest: Callable[[np.ndarray], np.ndarray] = np.round,
) -> Callable[[np.ndarray], Codes]:
    """Answer with other scales, of a shape like (T, 1), or rounding."""

    def answer(x: np.ndarray) -> Codes:
        size = scales(x)
        codes = nearest(x / size).astype(np.int64)
        # Codes beyond 127 wrap around, as a cast to int8 does.
        return codes.astype(np.int8), size

    return answer


def _right(x: np.ndarray) -> np.ndarray:
    return np.asarray(np.abs(x).max(axis=1, keepdims=True) / 127)


def _one_for_all(x: np.ndarray) -> np.ndarray:
    return np.full((len(x), 1), np.abs(x).max() / 127)


def _signed(x: np.ndarray) -> np.ndarray:
    return np.asarray(x.max(axis=1, keepdims=True) / 127)


def _inverse(x: np.ndarray) -> Codes:
    codes, scales = int8_codes(x)
    return codes, 1 / scales


def _by_channel(x: np.ndarray) -> Codes:
    scales = np.abs(x).max(axis=0, keepdims=True) / 127
    return np.round(x / scales).astype(np.int8), scales


EXERCISE = Exercise(
    id="25.1",
    cases=_cases,
    solution=int8_codes,
    results=("the codes", "the scales"),
    mistakes=(
        Mistake(
            key="128",
            diagnosis="Your largest number becomes 128. Codes of int8 end at "
            "127, and a cast turns 128 into -128.",
            wrong=_with(lambda x: _right(x) * 127 / 128),
        ),
        Mistake(
            key="one scale for all",
            diagnosis="All tokens share one scale. Each has its own, so that "
            "one large token does not make the others coarse.",
            wrong=_with(_one_for_all),
        ),
        Mistake(
            key="largest with its sign",
            diagnosis="Your scale is made from the largest number, not from "
            "the largest absolute one.",
            wrong=_with(_signed),
        ),
        Mistake(
            key="cut off",
            diagnosis="You round down or towards 0, as a cast does. Round to "
            "the nearest integer first.",
            wrong=_with(_right, np.trunc),
            also=(_with(_right, np.floor),),
        ),
        Mistake(
            key="scales inverted",
            diagnosis="Your scales are one over the right ones. The number is "
            "codes * scales.",
            wrong=_inverse,
        ),
        Mistake(
            key="a scale for each channel",
            diagnosis="You made a scale for each column. A token is a row: "
            "take the maximum over axis 1.",
            wrong=_by_channel,
        ),
        slip(
            "another largest integer",
            "Your largest code is another one. It should be 127 or -127.",
            int8_codes,
            ("/ 127", ""),
            ("/ 127", "/ 126"),
            ("/ 127", "* 127"),
            ("/ 127", "// 127"),
        ),
        slip(
            "scales upside down",
            "You divide 127 by the largest number. That is how many codes "
            "there are for 1; a scale is the number that one code stands "
            "for.",
            int8_codes,
            (
                "np.abs(x).max(axis=1, keepdims=True) / 127",
                "127 / np.abs(x).max(axis=1, keepdims=True)",
            ),
        ),
        slip(
            "smallest number",
            "Your scale is made from the smallest absolute number. It is "
            "the largest that becomes 127.",
            int8_codes,
            ("np.abs(x).max(", "np.abs(x).min("),
        ),
        slip(
            "not divided by the scale",
            "Your codes are not the numbers over their scale, rounded once.",
            int8_codes,
            ("np.round(x / scales)", "np.round(x)"),
            ("np.round(x / scales)", "np.round(x * scales)"),
            ("np.round(x / scales)", "np.round(x // scales)"),
            ("np.round(x / scales)", "np.round(scales / x)"),
        ),
    ),
    hints=(
        "By what must a row be divided so that its largest absolute number "
        "becomes 127?",
        "np.abs(x).max(axis=1, keepdims=True) has the shape (T, 1).",
        "scales = that / 127; codes = np.round(x / scales).astype(np.int8).",
    ),
)
