"""Problem P5.1: accuracy at the queries only."""

import numpy as np

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.check.edited import slip


def accuracy_at_queries(logits: np.ndarray, targets: np.ndarray) -> float:
    """Return the share of all queries that are answered right.

    logits (B, T, V); the answer is the token with the largest logit.
    targets (B, T): the right token at a query, -100 everywhere else.
    """
    asked = targets != -100
    return (logits.argmax(-1) == targets)[asked].mean()


def _cases() -> list[Case]:
    cases = []
    for B, T, V in ((1, 6, 4), (4, 9, 12), (5, 7, 7)):
        rng = np.random.default_rng(T)
        logits = rng.normal(size=(B, T, V))
        asked = rng.random((B, T)) < 0.4
        asked[:, 0] = False
        asked[:, 2] = True
        targets = np.where(asked, rng.integers(0, V, (B, T)), -100)
        right = asked & (rng.random((B, T)) < 0.5)
        right[0, 2] = True
        targets[right] = logits.argmax(-1)[right]
        name = f"logits of shape ({B}, {T}, {V}), {asked.sum()} queries"
        cases.append(Case(name=name, args=(logits, targets)))
    return cases


def _by_row(logits: np.ndarray, targets: np.ndarray) -> float:
    asked = targets != -100
    right = (logits.argmax(-1) == targets) & asked
    return (right.sum(1) / asked.sum(1)).mean()


def _whole_rows(logits: np.ndarray, targets: np.ndarray) -> float:
    right = (logits.argmax(-1) == targets) | (targets == -100)
    return right.all(1).mean()


def _shifted(logits: np.ndarray, targets: np.ndarray) -> float:
    return accuracy_at_queries(logits[:, :-1], targets[:, 1:])


EXERCISE = Exercise(
    id="P5.1",
    cases=_cases,
    solution=accuracy_at_queries,
    mistakes=(
        Mistake(
            key="all positions",
            diagnosis="You divide by all positions. Most of a row asks "
            "nothing: count positions whose target is not -100.",
            wrong=lambda x, y: (x.argmax(-1) == y).mean(),
        ),
        Mistake(
            key="a count",
            diagnosis="That is how many queries are right. Divide it by the "
            "number of queries.",
            wrong=lambda x, y: (x.argmax(-1) == y).sum(),
        ),
        Mistake(
            key="blanks are right",
            diagnosis="You count every position that asks nothing as right. "
            "Leave it out of both counts.",
            wrong=lambda x, y: ((x.argmax(-1) == y) | (y == -100)).mean(),
        ),
        Mistake(
            key="shifted",
            diagnosis="You compare with the next position's target. In this "
            "task the target of a query already stands at the query.",
            wrong=_shifted,
        ),
        Mistake(
            key="mean of rows",
            diagnosis="You average the shares of rows. Here rows have "
            "different numbers of queries, and every query counts once.",
            wrong=_by_row,
        ),
        Mistake(
            key="whole rows",
            diagnosis="You count rows whose queries are all right. Count "
            "queries.",
            wrong=_whole_rows,
        ),
        slip(
            "where nothing is asked",
            "You look at the positions where nothing is asked. A target of "
            "-100 means no query.",
            accuracy_at_queries,
            ("targets != -100", "targets == -100"),
        ),
        slip(
            "wrong ones counted",
            "That is the share of wrong answers.",
            accuracy_at_queries,
            ("== targets", "!= targets"),
        ),
        slip(
            "smallest logit",
            "You take the token with the smallest logit.",
            accuracy_at_queries,
            ("argmax", "argmin"),
        ),
    ),
    hints=(
        "Two counts: how many queries there are, and how many of them are "
        "right.",
        "targets != -100 is True at the queries, and an array can be indexed "
        "with it.",
        "(logits.argmax(-1) == targets)[targets != -100].mean().",
    ),
)
