"""Exercise 16.3: from a random number to a token."""

import numpy as np

from minidiff.check.core import Case, Exercise, Mistake


def draw(p: np.ndarray, u: float) -> int:
    """Return the token that the number u falls on.

    p (V,): probabilities, in eighths here, so that sums are exact.
    0 <= u < 1. On a line from 0 to 1 the tokens lie end to end in their
    order, token i taking p[i] of it, its left end included.
    """
    return int(np.searchsorted(np.cumsum(p), u, side="right"))


def _cases() -> list[Case]:
    return [
        Case(name=f"p = {eighths}/8, u = {u}", args=(np.array(eighths) / 8, u))
        for eighths, us in (
            ((4, 2, 2), (0.1, 0.6, 0.8, 0.99)),
            ((1, 1, 5, 1), (0.3, 0.2, 0.9)),
            ((2, 6), (0.25, 0.0, 0.24)),
            ((0, 3, 0, 4, 1), (0.0, 0.375, 0.3, 0.875)),
        )
        for u in us
    ]


def _left(p: np.ndarray, u: float) -> int:
    return int(np.searchsorted(np.cumsum(p), u, side="left"))


def _from_likeliest(p: np.ndarray, u: float) -> int:
    ordered = np.sort(p)[::-1]
    return int(np.searchsorted(np.cumsum(ordered), u, side="right"))


def _from_least(p: np.ndarray, u: float) -> int:
    return int(np.searchsorted(np.cumsum(np.sort(p)), u, side="right"))


def _likeliest_first(p: np.ndarray, u: float) -> int:
    return int(np.argsort(-p, kind="stable")[_from_likeliest(p, u)])


def _rarest_first(p: np.ndarray, u: float) -> int:
    return int(np.argsort(p, kind="stable")[_from_least(p, u)])


def _begins_beyond(p: np.ndarray, u: float) -> int:
    """Loops that ask before they add, and end at the last token."""
    return min(int(np.searchsorted(np.cumsum(p) - p, u)), len(p) - 1)


EXERCISE = Exercise(
    id="16.3",
    cases=_cases,
    solution=draw,
    mistakes=(
        Mistake(
            key="right end",
            diagnosis="Where u is exactly a border you return the token that "
            "ends there, so u = 0 can give a token of probability 0. The "
            "left end belongs to a token, the right end to the next one.",
            wrong=_left,
        ),
        Mistake(
            key="likeliest",
            diagnosis="You return the likeliest token whatever u is.",
            wrong=lambda p, u: int(np.argmax(p)),
        ),
        Mistake(
            key="even pieces",
            diagnosis="You cut the line into equal pieces. Token i takes "
            "p[i] of it.",
            wrong=lambda p, u: int(u * len(p)),
        ),
        Mistake(
            key="not added up",
            diagnosis="You compare u with single probabilities. Add them up: "
            "token i ends at p[0] + ... + p[i].",
            wrong=lambda p, u: int(np.argmax(p > u)),
            also=(lambda p, u: int(np.argmin(abs(p - u))),),
        ),
        Mistake(
            key="one too early",
            diagnosis="You return the token before the right one.",
            wrong=lambda p, u: draw(p, u) - 1,
        ),
        Mistake(
            key="one too late",
            diagnosis="You return the token after the right one.",
            wrong=lambda p, u: draw(p, u) + 1,
            also=(
                lambda p, u: min(draw(p, u) + 1, len(p) - 1),
                _begins_beyond,
            ),
        ),
        Mistake(
            key="sorted",
            diagnosis="You sort the probabilities, so your number is a rank "
            "and no token. Leave them in their order.",
            wrong=_from_likeliest,
            also=(_from_least,),
        ),
        Mistake(
            key="other order",
            diagnosis="You lay the tokens out by their probability. They lie "
            "in their own order: token 0 first.",
            wrong=_likeliest_first,
            also=(_rarest_first,),
        ),
        Mistake(
            key="nearest border",
            diagnosis="You take the border that is nearest to u. A token is "
            "hit anywhere between its two ends.",
            wrong=lambda p, u: int(np.argmin(abs(np.cumsum(p) - u))),
        ),
        Mistake(
            key="probability",
            diagnosis="You return the token's probability. Return its number.",
            wrong=lambda p, u: p[draw(p, u)],
        ),
        Mistake(
            key="from the other end",
            diagnosis="You lay the tokens out from the right end. Token 0 "
            "begins at 0.",
            wrong=lambda p, u: (
                len(p)
                - 1
                - int(np.searchsorted(np.cumsum(p[::-1]), u, side="right"))
            ),
            also=(
                lambda p, u: draw(p, 1 - u),
                lambda p, u: int(np.argmax(np.cumsum(p) > 1 - u)),
            ),
        ),
    ),
    hints=(
        "Where on the line does token i end?",
        "It ends at p[0] + ... + p[i]: np.cumsum. The first token that ends "
        "beyond u is the one.",
        'np.searchsorted(np.cumsum(p), u, side="right"), or '
        "np.argmax(np.cumsum(p) > u).",
    ),
)
