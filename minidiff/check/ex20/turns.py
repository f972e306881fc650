"""Exercise 20.1: how much of its circle each pair has seen in training."""

from collections.abc import Callable

import numpy as np

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.check.edited import slip


def share_seen(trained: int, D: int, base: float) -> np.ndarray:
    """Return the share of a full turn that training shows, (D / 2,).

    trained: tokens in a training row, so distances are 0 to trained - 1.
    Pair i of a head of width D turns by base ** (-2 i / D) radians a token.
    A pair that makes one turn or more has the share 1.
    """
    i = np.arange(D // 2)
    turns = (trained - 1) * base ** (-2 * i / D) / (2 * np.pi)
    return np.minimum(turns, 1)


def _cases() -> list[Case]:
    return [
        Case(
            name=f"rows of {trained}, D = {D}, base {base:g}",
            args=(trained, D, base),
        )
        for trained, D, base in (
            (512, 16, 10000.0),
            (2048, 32, 10000.0),
            (9, 8, 100.0),
            (2, 4, 10.0),
            (64, 12, 500.0),
        )
    ]


Shares = Callable[[int, int, float], np.ndarray]


def _speeds(D: int, base: float) -> np.ndarray:
    speeds: np.ndarray = base ** (-2 * np.arange(D // 2) / D)
    return speeds


def _from(
    speeds: Callable[[int, float], np.ndarray], turn: float = 2 * np.pi
) -> Shares:
    """Use other speeds, or another size of a full turn."""

    def answer(trained: int, D: int, base: float) -> np.ndarray:
        return np.minimum((trained - 1) * speeds(D, base) / turn, 1)

    return answer


EXERCISE = Exercise(
    id="20.1",
    cases=_cases,
    solution=share_seen,
    mistakes=(
        Mistake(
            key="more than a turn",
            diagnosis="Fast pairs go around many times, and your shares "
            "exceed 1. After one turn every angle has been seen: take 1.",
            wrong=lambda T, D, b: (T - 1) * _speeds(D, b) / (2 * np.pi),
        ),
        Mistake(
            key="where the pair stands",
            diagnosis="You return where in its circle a pair ends. A pair "
            "that has gone around has seen everything: its share is 1.",
            wrong=lambda T, D, b: (T - 1) * _speeds(D, b) / (2 * np.pi) % 1,
        ),
        Mistake(
            key="one distance too many",
            diagnosis="The largest distance between two of T tokens is "
            "T - 1, not T.",
            wrong=lambda T, D, b: share_seen(T + 1, D, b),
        ),
        Mistake(
            key="half a turn",
            diagnosis="A full turn is 2 pi radians; you divide by pi.",
            wrong=_from(_speeds, np.pi),
        ),
        Mistake(
            key="degrees",
            diagnosis="The speeds are in radians; a full turn is 2 pi of "
            "them, not 360.",
            wrong=_from(_speeds, 360),
        ),
        Mistake(
            key="radians",
            diagnosis="That is an angle in radians. Divide it by 2 pi, a "
            "full turn.",
            wrong=_from(_speeds, 1),
        ),
        Mistake(
            key="half the exponent",
            diagnosis="Your exponent is -i / D. Pair i has -2 i / D: speeds "
            "go down to nearly 1 / base, not to its root.",
            wrong=_from(lambda D, b: b ** (-np.arange(D // 2) / D)),
        ),
        Mistake(
            key="pairs from 1",
            diagnosis="Pairs count from 0: the first turns by one radian a "
            "token.",
            wrong=_from(lambda D, b: b ** (-2 * np.arange(1, D // 2 + 1) / D)),
        ),
        Mistake(
            key="pairs that get faster",
            diagnosis="Your speeds grow with i. The exponent is negative: "
            "later pairs are slower.",
            wrong=_from(lambda D, b: b ** (2 * np.arange(D // 2) / D)),
        ),
        slip(
            "another turn",
            "Your angle is not divided by a full turn, 2 pi radians. Mind "
            "the order of operations: / 2 * np.pi multiplies by pi.",
            share_seen,
            ("/ (2 * np.pi)", "/ 2 * np.pi"),
            ("/ (2 * np.pi)", "* (2 * np.pi)"),
            ("/ (2 * np.pi)", "/ 2"),
            ("/ (2 * np.pi)", "/ (2 + np.pi)"),
        ),
        slip(
            "one token",
            "That is how far a pair turns in one token. Training shows "
            "distances up to that between the first and the last token of a "
            "row.",
            share_seen,
            ("(trained - 1) * base", "base"),
        ),
        slip(
            "another distance",
            "Your largest distance is another number of tokens. The first "
            "and the last of T tokens are T - 1 apart.",
            share_seen,
            ("(trained - 1)", "(trained - 2)"),
            ("(trained - 1)", "(trained + 1)"),
        ),
        slip(
            "exponent without D",
            "The width D is not where it belongs in your exponent, -2 i / "
            "D: it goes from 0 to nearly -1.",
            share_seen,
            ("-2 * i / D", "-2 * i"),
            ("-2 * i / D", "-2 * i * D"),
            ("-2 * i / D", "-2 * i // D"),
            ("-2 * i / D", "-2 * (i // D)"),
            ("-2 * i / D", "-D / (2 * i)"),
        ),
        slip(
            "product for power",
            "The speed is a power of the base. You multiply the base by the "
            "exponent.",
            share_seen,
            ("base ** (-2 * i / D)", "base * (-2 * i / D)"),
            ("base ** (-2 * i / D)", "(-2 * i / D)"),
        ),
        slip(
            "larger of the two",
            "You take the larger of the turns and 1. A share is never more "
            "than 1: take the smaller.",
            share_seen,
            ("np.minimum(turns, 1)", "np.maximum(turns, 1)"),
        ),
        slip(
            "rounded down",
            "You round down. A share is a fraction: divide with /.",
            share_seen,
            (") / (2 * np.pi)", ") // (2 * np.pi)"),
        ),
    ),
    hints=(
        "How far does pair i turn over the largest distance of a row? "
        "Compare that with a full turn.",
        "The largest distance is trained - 1, and a full turn is 2 * np.pi.",
        "np.minimum((trained - 1) * base ** (-2 * i / D) / (2 * np.pi), 1) "
        "with i = np.arange(D // 2).",
    ),
)
