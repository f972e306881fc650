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
        Mistake(
            key="no keepdims",
            diagnosis="The sum over a row has lost its axis, so NumPy lines "
            "the sums up with the columns. Keep it: sum(-1, keepdims=True).",
            wrong=lambda a, b, lam: (
                np.exp(a) / np.exp(a).sum(-1)
                - lam * np.exp(b) / np.exp(b).sum(-1)
            ),
        ),
        Mistake(
            key="no sum",
            diagnosis="The exponentials are not divided by the sum of their "
            "row, so these are no weights yet.",
            wrong=lambda a, b, lam: np.exp(a) - lam * np.exp(b),
        ),
        Mistake(
            key="added",
            diagnosis="The second map is added. It is subtracted.",
            wrong=lambda a, b, lam: softmax(a) + lam * softmax(b),
        ),
        Mistake(
            key="branches swapped",
            diagnosis="The branches are swapped: this is the second map minus "
            "lam times the first.",
            wrong=lambda a, b, lam: softmax(b) - lam * softmax(a),
        ),
        Mistake(
            key="lam on the first",
            diagnosis="lam multiplies the first map. It belongs to the "
            "second.",
            wrong=lambda a, b, lam: lam * softmax(a) - softmax(b),
        ),
        Mistake(
            key="negative weights removed",
            diagnosis="Negative weights are set to zero. They stay: a head "
            "may subtract a value.",
            wrong=lambda a, b, lam: np.maximum(
                softmax(a) - lam * softmax(b), 0
            ),
        ),
        Mistake(
            key="a third softmax",
            diagnosis="You take a softmax of the difference as well. The "
            "difference is the result.",
            wrong=lambda a, b, lam: softmax(softmax(a) - lam * softmax(b)),
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
