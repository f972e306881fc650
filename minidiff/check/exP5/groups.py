"""Problem P5.3: the error of an accuracy whose questions come in groups."""

from collections.abc import Callable

import numpy as np

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.check.edited import slip


def accuracy_of_groups(
    right: np.ndarray, asked: np.ndarray
) -> tuple[float, float]:
    """Return an accuracy and its standard error, for questions in groups.

    right, asked (G,): in each of G >= 2 groups, how many questions were
    answered right and how many were asked, at least one. The accuracy p is the
    share of all questions that are right. Questions of a group may be right or
    wrong together; only the groups are independent. The deviation of a group
    is how many more of its questions are right than p times those asked. The
    variance of the number of right answers is estimated by the sum of the
    squared deviations, times G / (G - 1). The result's second number is the
    standard error of p.
    """
    G, questions = len(right), asked.sum()
    p = right.sum() / questions
    deviations = right - p * asked
    variance = (deviations**2).sum() * G / (G - 1)
    return p, variance**0.5 / questions


def _cases() -> list[Case]:
    return [
        Case(
            name=f"right = {right}, asked = {asked}",
            args=(np.array(right), np.array(asked)),
        )
        for right, asked in (
            ([3, 1, 4, 0], [4, 4, 4, 4]),
            ([6, 0, 5, 1, 0], [6, 6, 6, 6, 6]),
            ([7, 0, 2, 2], [8, 1, 5, 2]),
            ([2, 2, 3], [4, 4, 5]),
            ([1, 9, 0, 3, 12, 1], [2, 10, 3, 3, 20, 4]),
        )
    ]


Answer = Callable[[np.ndarray, np.ndarray], tuple[float, float]]
Error = Callable[[np.ndarray, np.ndarray, float], float]


def _with(error: Error) -> Answer:
    """The right accuracy, with another error."""

    def answer(right: np.ndarray, asked: np.ndarray) -> tuple[float, float]:
        p = right.sum() / asked.sum()
        return p, error(right, asked, p)

    return answer


def _sum(right: np.ndarray, asked: np.ndarray, p: float) -> float:
    """The sum of squared deviations."""
    return float(((right - p * asked) ** 2).sum())


def _count_error(right: np.ndarray, asked: np.ndarray, p: float) -> float:
    G = len(right)
    return float((_sum(right, asked, p) * G / (G - 1)) ** 0.5)


def _variance(right: np.ndarray, asked: np.ndarray, p: float) -> float:
    return float((_count_error(right, asked, p) / asked.sum()) ** 2)


def _within(right: np.ndarray, asked: np.ndarray, p: float) -> float:
    shares = right / asked
    return float((asked * shares * (1 - shares)).sum() ** 0.5 / asked.sum())


def _mean_of_shares(
    right: np.ndarray, asked: np.ndarray
) -> tuple[float, float]:
    shares = right / asked
    return shares.mean(), shares.std(ddof=1) / len(shares) ** 0.5


EXERCISE = Exercise(
    id="P5.3",
    cases=_cases,
    solution=accuracy_of_groups,
    results=("accuracy", "standard error"),
    mistakes=(
        Mistake(
            key="independent questions",
            diagnosis="You count every question as independent. Those of a "
            "group may be right or wrong together, so there are fewer "
            "independent things than questions.",
            wrong=_with(lambda r, n, p: (p * (1 - p) / n.sum()) ** 0.5),
            also=(
                _with(lambda r, n, p: (p * (1 - p) / (n.sum() - 1)) ** 0.5),
            ),
        ),
        Mistake(
            key="within groups",
            diagnosis="You take each group's own accuracy and count its "
            "questions as independent. What the groups differ by, the larger "
            "part, is then missing.",
            wrong=_with(_within),
        ),
        Mistake(
            key="mean of shares",
            diagnosis="You average the shares of groups, so a question in a "
            "small group counts more than one in a large group. Here every "
            "question counts once.",
            wrong=_mean_of_shares,
        ),
        Mistake(
            key="spread of shares",
            diagnosis="The accuracy is right. Its error is that of the mean "
            "of the groups' shares, in which all groups weigh the same. Use "
            "the deviations, in which a large group counts for more.",
            wrong=_with(
                lambda r, n, p: (r / n).std(ddof=1) / len(r) ** 0.5,
            ),
        ),
        Mistake(
            key="deviations from the mean number",
            diagnosis="You subtract the mean number of right answers. A large "
            "group has more of them only because more was asked: subtract p "
            "times asked.",
            wrong=_with(
                lambda r, n, p: r.std(ddof=1) * len(r) ** 0.5 / n.sum()
            ),
        ),
        Mistake(
            key="G forgotten",
            diagnosis="The factor G / (G - 1) is missing. As p comes from the "
            "same groups, the deviations come out a little too small.",
            wrong=_with(lambda r, n, p: _sum(r, n, p) ** 0.5 / n.sum()),
        ),
        Mistake(
            key="factor outside the root",
            diagnosis="You multiply the standard error by G / (G - 1). The "
            "factor belongs to the variance, inside the root.",
            wrong=_with(
                lambda r, n, p: (
                    _sum(r, n, p) ** 0.5 / n.sum() * len(r) / (len(r) - 1)
                )
            ),
        ),
        Mistake(
            key="a variance",
            diagnosis="That is the variance of p. The standard error is its "
            "root.",
            wrong=_with(_variance),
        ),
        Mistake(
            key="error of the number",
            diagnosis="That is the error of how many answers are right. The "
            "accuracy is this number divided by all questions.",
            wrong=_with(_count_error),
        ),
        Mistake(
            key="divided by the groups",
            diagnosis="You divide the error of the number of right answers by "
            "the number of groups. The accuracy is that number divided by "
            "all questions.",
            wrong=_with(lambda r, n, p: _count_error(r, n, p) / len(r)),
        ),
        Mistake(
            key="deviations added up first",
            diagnosis="You add up the deviations before squaring. Their sum "
            "is 0, always.",
            wrong=_with(lambda r, n, p: 0.0),
        ),
        slip(
            "no share",
            "Your accuracy is not the share of all questions that are right.",
            accuracy_of_groups,
            ("right.sum() / questions", "right.sum()"),
            ("right.sum() / questions", "right.sum() // questions"),
            ("right.sum() / questions", "right.mean() / questions"),
            ("right.sum() / questions", "questions / right.sum()"),
        ),
        slip(
            "no deviations",
            "Your deviations are not from p times the questions of a group.",
            accuracy_of_groups,
            ("right - p * asked", "right"),
            ("right - p * asked", "right - p"),
            ("right - p * asked", "right - asked"),
            ("right - p * asked", "right + p * asked"),
            ("right - p * asked", "p * asked"),
        ),
        slip(
            "another factor",
            "The sum of the squared deviations is multiplied by another "
            "factor than G / (G - 1), which is a little above 1.",
            accuracy_of_groups,
            ("* G / (G - 1)", "/ (G - 1)"),
            ("* G / (G - 1)", "* G"),
            ("* G / (G - 1)", "* (G - 1) / G"),
            ("* G / (G - 1)", "* G / (G + 1)"),
            ("* G / (G - 1)", "* G * (G - 1)"),
            ("* G / (G - 1)", "* G / (G - 2)"),
        ),
        slip(
            "sizes for squares",
            "You add up the sizes of the deviations. Add up their squares.",
            accuracy_of_groups,
            ("(deviations**2)", "abs(deviations)"),
        ),
        slip(
            "no root",
            "You divide a variance by the number of questions. First take "
            "its root.",
            accuracy_of_groups,
            ("variance**0.5 /", "variance /"),
            ("variance**0.5 /", "variance * 0.5 /"),
        ),
    ),
    hints=(
        "First p from the two sums. Then a deviation for each group: its "
        "right answers minus p times its questions.",
        "The accuracy is the number of right answers divided by all "
        "questions, so its standard error is that of the number, divided by "
        "all questions.",
        "deviations = right - p * asked; the error is "
        "((deviations**2).sum() * G / (G - 1)) ** 0.5 / asked.sum().",
    ),
)
