"""Exercise 22.2: wrong answers among those that a model dares to give."""

from collections.abc import Callable

import numpy as np

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.check.edited import slip

Curve = tuple[np.ndarray, np.ndarray]


def risk_coverage(
    confidence: np.ndarray, right: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return coverage and risk when only the surest k questions are answered.

    confidence (n,): how sure the model is of each answer, all different.
    right (n,): True where its answer is right. Entry k - 1 of the results,
    for k from 1 to n, belongs to answering the k questions of the highest
    confidence and no others: coverage is their share of all n questions,
    risk is the share of wrong answers among these k.
    """
    n = len(right)
    answered = np.arange(1, n + 1)
    wrong = ~right[np.argsort(-confidence)]
    return answered / n, np.cumsum(wrong) / answered


def _cases() -> list[Case]:
    cases = []
    for n, share in ((6, 0.5), (1, 0.4), (25, 0.7), (40, 0.0), (9, 0.3)):
        rng = np.random.default_rng(n)
        right = rng.random(n) < share
        confidence = rng.permutation(n) / n + 0.01
        args = confidence, right
        cases.append(Case(name=f"{n} questions", args=args))
    return cases


def _curve(
    confidence: np.ndarray,
    right: np.ndarray,
    *,
    order: Callable[[np.ndarray], np.ndarray] = lambda c: np.argsort(-c),
    count: Callable[[np.ndarray], np.ndarray] = lambda right: ~right,
    by: Callable[[np.ndarray], np.ndarray | int] = lambda k: k,
    coverage: Callable[[np.ndarray], np.ndarray] = lambda k: k / len(k),
) -> Curve:
    k = np.arange(1, len(right) + 1)
    total = np.cumsum(count(right[order(confidence)]))
    return coverage(k), total / by(k)


def _answered(confidence: np.ndarray, right: np.ndarray) -> Curve:
    coverage, risk = risk_coverage(confidence, right)
    return coverage[::-1], risk[::-1]


def _sorted_alone(confidence: np.ndarray, right: np.ndarray) -> Curve:
    return _curve(confidence, np.sort(right)[::-1], order=_as_they_came)


def _as_they_came(confidence: np.ndarray) -> np.ndarray:
    return np.arange(len(confidence))


def _ranks(confidence: np.ndarray) -> np.ndarray:
    return np.argsort(np.argsort(-confidence))


EXERCISE = Exercise(
    id="22.2",
    cases=_cases,
    solution=risk_coverage,
    results=("coverage", "risk"),
    mistakes=(
        Mistake(
            key="least sure first",
            diagnosis="You begin with the questions of the lowest "
            "confidence. np.argsort sorts upwards.",
            wrong=lambda c, r: _curve(c, r, order=np.argsort),
        ),
        Mistake(
            key="not sorted",
            diagnosis="You take the questions in the order in which they "
            "came. Sort the answers by confidence first.",
            wrong=lambda c, r: _curve(c, r, order=_as_they_came),
        ),
        Mistake(
            key="ranks for an order",
            diagnosis="You index with the questions' ranks. What is needed "
            "is the order: the index of the surest, of the second, and so on.",
            wrong=lambda c, r: _curve(c, r, order=_ranks),
        ),
        Mistake(
            key="right answers sorted",
            diagnosis="You sort the right answers by themselves. They must "
            "follow the confidences.",
            wrong=_sorted_alone,
        ),
        Mistake(
            key="right answers counted",
            diagnosis="You return the share of right answers. Risk is the "
            "share of wrong ones.",
            wrong=lambda c, r: _curve(c, r, count=lambda right: right),
        ),
        Mistake(
            key="divided by all questions",
            diagnosis="You divide by all questions. Then every refusal makes "
            "the risk smaller: divide by those answered.",
            wrong=lambda c, r: _curve(c, r, by=len),
        ),
        Mistake(
            key="coverage as a count",
            diagnosis="Your coverage is a number of questions, not a share.",
            wrong=lambda c, r: _curve(
                c, r, coverage=lambda k: k.astype(float)
            ),
        ),
        Mistake(
            key="from no answer",
            diagnosis="Your coverage begins at 0. With no answers there is "
            "no risk to measure: let k run from 1 to n.",
            wrong=lambda c, r: _curve(
                c, r, coverage=lambda k: (k - 1) / len(k)
            ),
        ),
        Mistake(
            key="reversed",
            diagnosis="Your first entry belongs to answering everything. It "
            "should belong to the single surest answer.",
            wrong=_answered,
        ),
        slip(
            "risk as a count",
            "Your risk is a number of answers. It is a share of those "
            "answered.",
            risk_coverage,
            ("np.cumsum(wrong) / answered", "np.cumsum(wrong)"),
            ("np.cumsum(wrong) / answered", "np.cumsum(wrong) * answered"),
            ("np.cumsum(wrong) / answered", "np.cumsum(wrong) // answered"),
        ),
        slip(
            "last answer only",
            "Your risk looks at the last of the k answers only. Count the "
            "wrong ones among all k.",
            risk_coverage,
            ("np.cumsum(wrong)", "wrong"),
        ),
        slip(
            "coverage upside down",
            "Your coverage is above 1. It is the share of all questions "
            "that are answered.",
            risk_coverage,
            ("answered / n,", "n / answered,"),
            ("answered / n,", "answered * n,"),
        ),
    ),
    hints=(
        "Sort the answers so that the surest stands first. What do you need "
        "to count along this list?",
        "order = np.argsort(-confidence), and np.cumsum counts how many of "
        "the first k are wrong.",
        "np.cumsum(~right[order]) / np.arange(1, n + 1) is the risk, and "
        "np.arange(1, n + 1) / n the coverage.",
    ),
)
