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
    rows = np.random.default_rng(3).random((2, 2, 4))
    cases.append(Case(name="2 rows of weights, lam = 0.8", args=(*rows, 0.8)))
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
            key="lam on first",
            diagnosis="lam multiplies first. It belongs to second.",
            wrong=lambda a, b, lam: lam * a - b,
        ),
        Mistake(
            key="brackets",
            diagnosis="You subtract lam from first and multiply then. "
            "Multiply second by lam, and subtract the product.",
            wrong=lambda a, b, lam: (a - lam) * b,
        ),
        Mistake(
            key="divided",
            diagnosis="You divide second by lam. Multiply it.",
            wrong=lambda a, b, lam: a - b / lam,
        ),
        Mistake(
            key="second forgotten",
            diagnosis="second is not used: you subtract the number lam.",
            wrong=lambda a, b, lam: a - lam,
        ),
        Mistake(
            key="lam fixed",
            diagnosis="You wrote 0.9 into the function. lam is an argument: "
            "use its name.",
            wrong=lambda a, b, lam: a - 0.9 * b,
        ),
        Mistake(
            key="negative numbers removed",
            diagnosis="Your result has no negative numbers. They are right "
            "as they are: leave them in.",
            wrong=lambda a, b, lam: np.maximum(a - lam * b, 0),
            also=(lambda a, b, lam: np.abs(a - lam * b),),
        ),
        Mistake(
            key="added",
            diagnosis="You add the second list. Subtract it.",
            wrong=lambda a, b, lam: a + lam * b,
        ),
    ),
    hints=(
        "Which of the two arrays does lam belong to?",
        "NumPy multiplies a whole array by a number: lam * second.",
        "return first - lam * second",
    ),
)
