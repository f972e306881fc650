"""Exercise 3.1: the second row that leaves only the needle."""

import numpy as np

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.reference import softmax


def perfect_partner(row1: np.ndarray, needle: int, lam: float) -> np.ndarray:
    """Return row2 so that row1 - lam * row2 is 0 at all keys but the needle.

    row1 (S,): the weights of one softmax row; needle: the index of the key we
    want; lam: a number, at least 1 - row1[needle]. row2 (S,) sums to 1.
    """
    row2 = row1 / lam
    row2[needle] = 0
    row2[needle] = 1 - row2.sum()
    return row2


def _cases() -> list[Case]:
    by_hand = np.array([0.5, 0.25, 0.25])
    rows = [(by_hand, 0, 0.75), (by_hand, 0, 0.5)]
    for seed, (S, needle, lam) in enumerate([(5, 3, 0.9), (8, 6, 1.3)]):
        row1 = softmax(np.random.default_rng(seed).normal(size=S))
        rows.append((row1, needle, lam))
    return [
        Case(name=f"S = {len(r)}, needle = {i}, lam = {lam}", args=(r, i, lam))
        for r, i, lam in rows
    ]


def _with(row: np.ndarray, needle: int, weight: float) -> np.ndarray:
    """A copy of the row with another weight on the needle."""
    row = row.copy()
    row[needle] = weight
    return row


def _rescaled(row1: np.ndarray, needle: int, lam: float) -> np.ndarray:
    others = _with(row1, needle, 0)
    return others / others.sum()


EXERCISE = Exercise(
    id="3.1",
    cases=_cases,
    solution=perfect_partner,
    mistakes=(
        Mistake(
            key="needle cancelled as well",
            diagnosis="You divide all of row1 by lam, so the needle is "
            "cancelled as well, and row2 does not sum to 1. The needle's "
            "weight in row2 is whatever the other keys leave.",
            wrong=lambda row, i, lam: row / lam,
        ),
        Mistake(
            key="row 1 again",
            diagnosis="This is row1 itself. Each key but the needle needs "
            "row1[s] = lam * row2[s]; solve it for row2[s].",
            wrong=lambda row, i, lam: row.copy(),
        ),
        Mistake(
            key="needle left at 0",
            diagnosis="row2 has 0 on the needle and does not sum to 1. A "
            "softmax row does: the needle gets what is left.",
            wrong=lambda row, i, lam: _with(row / lam, i, 0),
        ),
        Mistake(
            key="needle left at 0, rescaled",
            diagnosis="You set the needle to 0 and rescale the other "
            "weights to sum to 1. Then lam * row2 no longer equals row1 at "
            "these keys. Leave them, and give the needle what is left.",
            wrong=_rescaled,
        ),
        Mistake(
            key="needle's old weight counted",
            diagnosis="The needle's own weight, divided by lam, is part of "
            "the sum that you take from 1. Sum over the other keys only.",
            wrong=lambda row, i, lam: _with(row / lam, i, 1 - 1 / lam),
        ),
        Mistake(
            key="multiplied by lam",
            diagnosis="The other keys have lam * row1[s]. From row1[s] = lam "
            "* row2[s] it follows that row1 is divided by lam.",
            wrong=lambda row, i, lam: _with(
                lam * row, i, 1 - lam * (1 - row[i])
            ),
        ),
        Mistake(
            key="lam forgotten",
            diagnosis="The needle has 0 and all others row1's own weights. "
            "lam multiplies row2, so these are too small or too large.",
            wrong=lambda row, i, lam: _with(row, i, 0),
        ),
        Mistake(
            key="needle gets 1 - lam",
            diagnosis="The needle has 1 - lam in row2. That is its weight in "
            "the difference. In row2 it gets what the other keys leave.",
            wrong=lambda row, i, lam: _with(row / lam, i, 1 - lam),
        ),
        Mistake(
            key="the difference",
            diagnosis="This is the difference row1 - lam * row2. Return row2.",
            wrong=lambda row, i, lam: _with(0 * row, i, 1 - lam),
        ),
        Mistake(
            key="lam times row 2",
            diagnosis="This is lam * row2: it sums to lam. Divide by lam.",
            wrong=lambda row, i, lam: lam * perfect_partner(row, i, lam),
        ),
        Mistake(
            key="all equal",
            diagnosis="All weights are 1 / S. That cancels the others only "
            "where row1 gives them equal weights, as in the example by hand.",
            wrong=lambda row, i, lam: np.full(row.shape, 1 / len(row)),
        ),
        Mistake(
            key="key 0 as the needle",
            diagnosis="Key 0 is taken as the needle. Its index is given: "
            "row1[needle].",
            wrong=lambda row, i, lam: perfect_partner(row, 0, lam),
        ),
        Mistake(
            key="loudest key as the needle",
            diagnosis="The largest weight of row1 is taken as the needle. "
            "The needle is the index that is given, loud or not.",
            wrong=lambda row, i, lam: perfect_partner(
                row, int(row.argmax()), lam
            ),
        ),
        Mistake(
            key="scores",
            diagnosis="These are logarithms of the weights. Return the "
            "weights themselves.",
            wrong=lambda row, i, lam: np.log(perfect_partner(row, i, lam)),
        ),
    ),
    hints=(
        "Take a key that is not the needle. What does row1[s] - lam * "
        "row2[s] = 0 say about row2[s]?",
        "Now all weights of row2 but one are known, and row2 sums to 1.",
        "row2 = row1 / lam is a new array. Set row2[needle] = 0, then "
        "row2[needle] = 1 - row2.sum().",
    ),
)
