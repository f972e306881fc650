"""Exercise 3.1: the difference of two softmaxes."""

import numpy as np

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.reference import softmax


def difference(
    logits1: np.ndarray, logits2: np.ndarray, lam: float
) -> np.ndarray:
    """Return softmax(logits1) - lam * softmax(logits2), row by row.

    logits1 and logits2 (T, S); lam a number; the result (T, S).
    """
    return softmax(logits1) - lam * softmax(logits2)


def _cases() -> list[Case]:
    cases = []
    for seed, (T, S, lam) in enumerate(
        [(1, 3, 0.75), (4, 4, 0.2), (3, 5, 1.3), (4, 4, -0.3)]
    ):
        a, b = np.random.default_rng(seed).normal(size=(2, T, S))
        cases.append(
            Case(name=f"T = {T}, S = {S}, lam = {lam}", args=(a, b, lam))
        )
    return cases


EXERCISE = Exercise(
    id="3.1",
    cases=_cases,
    solution=difference,
    mistakes=(
        Mistake(
            key="before the softmax",
            diagnosis="You subtract the logits and take one softmax. Take "
            "two softmaxes first, then subtract.",
            wrong=lambda a, b, lam: softmax(a - lam * b),
        ),
        Mistake(
            key="lam dropped",
            diagnosis="lam is not used: the second map is subtracted whole.",
            wrong=lambda a, b, lam: softmax(a) - softmax(b),
        ),
        Mistake(
            key="lam inside",
            diagnosis="lam multiplies the second logits, inside the softmax. "
            "It belongs outside: lam * softmax(logits2).",
            wrong=lambda a, b, lam: softmax(a) - softmax(lam * b),
        ),
        Mistake(
            key="wrong axis",
            diagnosis="The softmax runs down the columns. Each row, one "
            "query, is a distribution over the keys: axis -1.",
            wrong=lambda a, b, lam: softmax(a.T).T - lam * softmax(b.T).T,
        ),
        Mistake(
            key="whole matrix",
            diagnosis="One sum runs over the whole matrix. Each row, one "
            "query, has its own sum: axis -1, keepdims=True.",
            wrong=lambda a, b, lam: (
                np.exp(a) / np.exp(a).sum() - lam * np.exp(b) / np.exp(b).sum()
            ),
        ),
        Mistake(
            key="lam on both",
            diagnosis="lam multiplies both maps. Only the second one is "
            "scaled.",
            wrong=lambda a, b, lam: lam * (softmax(a) - softmax(b)),
        ),
        Mistake(
            key="rows rescaled",
            diagnosis="You divide the rows by their sum afterwards. The "
            "difference is left as it is: its rows sum to 1 - lam.",
            wrong=lambda a, b, lam: (
                (softmax(a) - lam * softmax(b)) / (1 - lam)
            ),
        ),
    ),
    hints=(
        "How many softmaxes does the formula have, and what is subtracted "
        "from what?",
        "Call softmax once on each of the two arrays. It already works row "
        "by row.",
        "softmax(logits1) minus lam times softmax(logits2).",
    ),
)
