"""Exercise 0.1: one list of weights minus a share of another."""

import numpy as np

from minidiff.check.core import Case, Exercise, Mistake


def subtract(first: np.ndarray, second: np.ndarray, lam: float) -> np.ndarray:
    """Return first minus lam times second.

    first and second: arrays of the same shape; lam: a number.
    """
    return first - lam * second


def _cases() -> list[Case]:
    cases = []
    for seed, (size, lam) in enumerate([(3, 0.5), (8, 0.9), (5, -0.25)]):
        first, second = np.random.default_rng(seed).random((2, size))
        cases.append(
            Case(
                name=f"{size} weights, lam = {lam}",
                args=(first, second, lam),
            )
        )
    return cases


EXERCISE = Exercise(
    id="0.1",
    cases=_cases,
    solution=subtract,
    mistakes=(
        Mistake(
            key="lam dropped",
            diagnosis="lam is not used: second is subtracted whole.",
            wrong=lambda a, b, lam: a - b,
        ),
        Mistake(
            key="swapped",
            diagnosis="The two lists are swapped: this is second minus lam "
            "times first.",
            wrong=lambda a, b, lam: b - lam * a,
        ),
        Mistake(
            key="lam on both",
            diagnosis="lam multiplies both lists. Only second is scaled.",
            wrong=lambda a, b, lam: lam * (a - b),
        ),
        Mistake(
            key="added",
            diagnosis="You add the second list. Subtract it.",
            wrong=lambda a, b, lam: a + lam * b,
        ),
    ),
    hints=(
        "Which of the two lists does lam belong to?",
        "NumPy multiplies a whole array by a number: lam * second.",
        "return first - lam * second",
    ),
)
