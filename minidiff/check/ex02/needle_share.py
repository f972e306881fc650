"""Exercise 2.1: the share of several needles."""

import numpy as np

from minidiff.check.core import Case, Exercise, Mistake


def needle_share(lift: float, distractors: int, needles: int = 1) -> float:
    """Return the weight of all needles together in one softmax row.

    Each needle's score is lift, each distractor's is 0.
    """
    loud = needles * np.exp(lift)
    return loud / (loud + distractors)


def _cases() -> list[Case]:
    return [
        Case(
            name=f"lift = {lift}, distractors = {n}, needles = {m}",
            args=(lift, n, m),
        )
        for lift, n, m in [
            (3.0, 9, 1),
            (2.0, 10, 3),
            (0.0, 5, 2),
            (7.5, 1000, 4),
        ]
    ]


EXERCISE = Exercise(
    id="2.1",
    cases=_cases,
    solution=needle_share,
    mistakes=(
        Mistake(
            key="needles ignored",
            diagnosis="The number of needles is not used: this is the share "
            "of a needle that is alone.",
            wrong=lambda d, n, m: np.exp(d) / (np.exp(d) + n),
        ),
        Mistake(
            key="one of them",
            diagnosis="This is the share of one needle among several. Asked "
            "for is the weight of all of them together.",
            wrong=lambda d, n, m: np.exp(d) / (m * np.exp(d) + n),
        ),
        Mistake(
            key="others left out",
            diagnosis="You multiply the share of a lone needle. The needles "
            "also compete with each other: all of them stand in the "
            "denominator.",
            wrong=lambda d, n, m: m * np.exp(d) / (np.exp(d) + n),
        ),
        Mistake(
            key="needles counted twice",
            diagnosis="You take the needles out of the n distractors. The "
            "row has n distractors besides the needles.",
            wrong=lambda d, n, m: m * np.exp(d) / (m * np.exp(d) + n - m),
        ),
        Mistake(
            key="odds",
            diagnosis="You divide the needles' weight by that of the "
            "distractors alone. A softmax divides by the sum of all keys, "
            "the needles included.",
            wrong=lambda d, n, m: m * np.exp(d) / n,
        ),
        Mistake(
            key="no exponential",
            diagnosis="The lift is used as a weight. It is a score: its "
            "weight is e^lift, and that of a distractor e^0 = 1.",
            wrong=lambda d, n, m: m * d / (m * d + n),
        ),
        Mistake(
            key="no exponential for distractors",
            diagnosis="A distractor's score is 0, but its weight is e^0 = 1, "
            "not 0.",
            wrong=lambda d, n, m: m * np.exp(d) / (m * np.exp(d)),
        ),
        Mistake(
            key="lifts added",
            diagnosis="You add up the lifts inside the exponential. Each "
            "needle has a weight e^lift of its own, and the weights add up.",
            wrong=lambda d, n, m: np.exp(m * d) / (np.exp(m * d) + n),
        ),
        Mistake(
            key="needles and lift added",
            diagnosis="The number of needles is added to exp(lift). Each "
            "needle weighs exp(lift), so m of them weigh m times that.",
            wrong=lambda d, n, m: (m + np.exp(d)) / (m + np.exp(d) + n),
        ),
        Mistake(
            key="sign",
            diagnosis="The sign of the lift is flipped: more lift must give "
            "a larger share.",
            wrong=lambda d, n, m: m / (m + n * np.exp(d)),
        ),
        Mistake(
            key="needles beside the distractors",
            diagnosis="Your needles multiply the distractors. In equation "
            "2.1 the needle's e^lift becomes m e^lift, so n is divided by "
            "m, not multiplied.",
            wrong=lambda d, n, m: 1 / (1 + m * n * np.exp(-d)),
        ),
        Mistake(
            key="other needles are distractors",
            diagnosis="You count the other needles as distractors of weight "
            "1. They are lifted too: each adds e^lift, above and below.",
            wrong=lambda d, n, m: np.exp(d) / (np.exp(d) + n + m - 1),
        ),
        Mistake(
            key="one distractor too few",
            diagnosis="The row has n distractors besides the needles. You "
            "take one off, as if n counted the needle too.",
            wrong=lambda d, n, m: m * np.exp(d) / (m * np.exp(d) + n - 1),
        ),
        Mistake(
            key="the noise",
            diagnosis="This is the share of the distractors: 1 minus what "
            "is asked for.",
            wrong=lambda d, n, m: n / (m * np.exp(d) + n),
        ),
        Mistake(
            key="one by one",
            diagnosis="These are the weights of the needles, one by one. "
            "Return their sum, one number.",
            wrong=lambda d, n, m: np.full(m, np.exp(d) / (m * np.exp(d) + n)),
        ),
    ),
    hints=(
        "What does one needle add to the sum of the row, what one distractor?",
        "A needle adds e^lift, a distractor e^0 = 1. The share is the part "
        "of the needles in the sum of everything.",
        "m * np.exp(lift) divided by (m * np.exp(lift) + n), m the needles "
        "and n the distractors.",
    ),
)
