"""Exercise 2.2: the lift that a share takes."""

import numpy as np

from minidiff.check.core import Case, Exercise, Mistake


def lift_needed(share: float, distractors: int) -> float:
    """Return the lift that gives one needle this share, 0 < share < 1."""
    return np.log(distractors * share / (1 - share))


def _cases() -> list[Case]:
    return [
        Case(name=f"share = {p}, distractors = {n}", args=(p, n))
        for p, n in [(0.5, 63), (0.9, 1000), (0.01, 2), (0.7, 17)]
    ]


EXERCISE = Exercise(
    id="2.2",
    cases=_cases,
    solution=lift_needed,
    mistakes=(
        Mistake(
            key="share ignored",
            diagnosis="The share is not used: ln n is the lift for one half "
            "and for no other share.",
            wrong=lambda p, n: np.log(n),
        ),
        Mistake(
            key="distractors ignored",
            diagnosis="The number of distractors is not used: this is the "
            "lift against a single one.",
            wrong=lambda p, n: np.log(p / (1 - p)),
        ),
        Mistake(
            key="not divided by the rest",
            diagnosis="You solve e^lift = share * n. The needle's own weight "
            "stands in the denominator of equation 2.1 too, and that brings "
            "in a division by 1 - share.",
            wrong=lambda p, n: np.log(n * p),
        ),
        Mistake(
            key="odds upside down",
            diagnosis="The share stands upside down: (1 - share) / share. A "
            "larger share must take a larger lift.",
            wrong=lambda p, n: np.log(n * (1 - p) / p),
        ),
        Mistake(
            key="sign",
            diagnosis="This is minus the lift. You solved for e^(-lift): "
            "the logarithm still has to change its sign.",
            wrong=lambda p, n: -np.log(n * p / (1 - p)),
        ),
        Mistake(
            key="no logarithm",
            diagnosis="This is e^lift. Take its logarithm.",
            wrong=lambda p, n: n * p / (1 - p),
        ),
        Mistake(
            key="base ten",
            diagnosis="The logarithm has base 10 (or 10 was its argument). "
            "The softmax uses e: take np.log.",
            wrong=lambda p, n: np.log10(n * p / (1 - p)),
        ),
        Mistake(
            key="base two",
            diagnosis="The logarithm has base 2. The softmax uses e: take "
            "np.log.",
            wrong=lambda p, n: np.log2(n * p / (1 - p)),
        ),
        Mistake(
            key="needle counted",
            diagnosis="You count the needle among the distractors and take "
            "one off. There are n distractors besides it.",
            wrong=lambda p, n: np.log((n - 1) * p / (1 - p)),
        ),
        Mistake(
            key="needle added",
            diagnosis="You count the needle as one more distractor. Its own "
            "weight is e^lift, and equation 2.1 holds it already.",
            wrong=lambda p, n: np.log((n + 1) * p / (1 - p)),
        ),
        Mistake(
            key="divided by the share",
            diagnosis="You solve n e^(-lift) = share. Equation 2.1 has "
            "1 + n e^(-lift) below: n e^(-lift) is 1 / share - 1.",
            wrong=lambda p, n: np.log(n / p),
        ),
        Mistake(
            key="only the rest",
            diagnosis="You solve e^lift = n / (1 - share). The sum of the "
            "row is n / (1 - share), and the needle has only its share of "
            "that.",
            wrong=lambda p, n: np.log(n / (1 - p)),
        ),
        Mistake(
            key="odds of the product",
            diagnosis="You multiply the share by n before taking the odds, "
            "and 1 - n * share is negative: its logarithm is nan. n "
            "multiplies share / (1 - share).",
            wrong=lambda p, n: np.log(n * p / (1 - n * p)),
        ),
        Mistake(
            key="n outside the logarithm",
            diagnosis="n stands outside the logarithm. It multiplies "
            "share / (1 - share) inside, so ln n is added.",
            wrong=lambda p, n: n * np.log(p / (1 - p)),
            also=(
                lambda p, n: -n * np.log(p / (1 - p)),
                lambda p, n: np.log(p / (1 - p)) / n,
                lambda p, n: -np.log(p / (1 - p)) / n,
            ),
        ),
        Mistake(
            key="distractors subtracted",
            diagnosis="More distractors must take more lift: ln n has the "
            "wrong sign.",
            wrong=lambda p, n: np.log(p / (1 - p) / n),
        ),
    ),
    hints=(
        "In equation 2.1, which term holds the lift? Bring it alone to one "
        "side.",
        "1 / share = 1 + n e^(-lift). Solve for e^(-lift), then take the "
        "logarithm and mind the sign.",
        "ln n plus ln(share / (1 - share)).",
    ),
)
