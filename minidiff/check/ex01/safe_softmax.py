"""Exercise 1.2: a softmax that does not overflow."""

from functools import partial
from math import exp

import numpy as np

from minidiff.check.core import Case, Exercise, Mistake


def safe_softmax(x: np.ndarray) -> np.ndarray:
    """Return the softmax over the last axis of x (..., S), shaped like x.

    Neither large nor small scores may give nan or inf.
    """
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def _cases() -> list[Case]:
    rng = np.random.default_rng(0)
    infinity = np.inf
    rows = np.array([[1000.0, 1001, 999], [-1001.0, -1000, -1002], [0, 1, 2]])
    return [
        Case(name="one row", args=(np.array([1.0, 0.0, 2.0]),)),
        Case(name="scores near 1000", args=(rows[0],)),
        Case(name="scores near -1000", args=(rows[1],)),
        Case(
            name="1000 and -1000 in one row",
            args=(np.array([[-1000.0, 1000.0, -1000.0, -1000.0]]),),
        ),
        Case(
            name="-400 and 400 in one row",
            args=(np.array([[-400.0, 400.0, 400.0]]),),
        ),
        Case(name="rows near 1000, -1000 and 0", args=(rows,)),
        Case(
            name="two scores of -inf",
            args=(np.array([[-infinity, 2.0, 1.0, -infinity]]),),
        ),
        Case(name="shape (2, 3, 5)", args=(rng.normal(size=(2, 3, 5)),)),
        Case(name="shape (4, 2, 1)", args=(rng.normal(size=(4, 2, 1)),)),
    ]


def _divide(
    e: np.ndarray, axis: int | None = -1, keepdims: bool = True
) -> np.ndarray:
    return e / e.sum(axis, keepdims=keepdims)


def _guarded(x: np.ndarray, epsilon: float) -> np.ndarray:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / (e.sum(-1, keepdims=True) + epsilon)


def _second_place(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(-1)[:, None])
    return e / e.sum(-1)[:, None]


_SHAPES = (
    "You lost the last axis: x.max(-1) and e.sum(-1) have one axis less than "
    "x, and do not fit it any more, or fit along the wrong axis. Give both "
    "keepdims=True."
)

EXERCISE = Exercise(
    id="1.2",
    cases=_cases,
    solution=safe_softmax,
    mistakes=(
        Mistake(
            key="nothing subtracted",
            diagnosis="Large scores overflow: exp(1000) is inf, inf / inf is "
            "nan. And a row near -1000 is 0 / 0. Take the right constant off "
            "the row first.",
            wrong=lambda x: _divide(np.exp(x)),
        ),
        Mistake(
            key="epsilon",
            diagnosis="A small number in the denominator hides 0 / 0, but "
            "gives a row near -1000 weights of 0, and inf / inf is still "
            "nan. Take a constant off the row first.",
            wrong=lambda x: (
                np.exp(x) / (np.exp(x).sum(-1, keepdims=True) + 1e-12)
            ),
        ),
        Mistake(
            key="epsilon beside the maximum",
            diagnosis="The small number in the denominator makes every "
            "weight a little too small. It guards nothing: with the largest "
            "score subtracted, the sum is at least 1.",
            wrong=lambda x: _guarded(x, 1e-6),
            also=tuple(
                partial(_guarded, epsilon=e) for e in (1e-4, 1e-5, 1e-7, 1e-8)
            ),
        ),
        Mistake(
            key="max of Python",
            diagnosis="max(x) is Python's own: it runs over the first axis "
            "of an array and compares whole rows. x.max(-1, keepdims=True) "
            "is the largest score of each row.",
            wrong=lambda x: _divide(np.exp(x - max(x))),
            also=(lambda x: _divide(np.exp(x - max(x)), None),),
        ),
        Mistake(
            key="mean",
            diagnosis="You subtract the mean, or another middle of the row. "
            "A score far above it still overflows, and with -inf in the row "
            "the mean is -inf. Which entry leaves nothing above it?",
            wrong=lambda x: _divide(np.exp(x - x.mean(-1, keepdims=True))),
        ),
        Mistake(
            key="minimum",
            diagnosis="You subtract the smallest score, so that all others "
            "are positive: large ones overflow. Subtract the largest.",
            wrong=lambda x: _divide(np.exp(x - x.min(-1, keepdims=True))),
        ),
        Mistake(
            key="one maximum for all",
            diagnosis="One maximum is taken over the whole array. A row far "
            "below it becomes 0 / 0. Each row needs its own: axis -1, with "
            "keepdims=True.",
            wrong=lambda x: _divide(np.exp(x - x.max())),
        ),
        Mistake(
            key="largest absolute value",
            diagnosis="You subtract the largest absolute value. A row near "
            "-1000 is then pushed to -2000, and gives 0 / 0. Subtract the "
            "largest score, sign and all.",
            wrong=lambda x: _divide(
                np.exp(x - np.abs(x).max(-1, keepdims=True))
            ),
        ),
        Mistake(
            key="divided by the maximum",
            diagnosis="You divide the scores by the largest. That changes "
            "the weights. Subtracting a constant does not (eq. 1.2).",
            wrong=lambda x: _divide(np.exp(x / x.max(-1, keepdims=True))),
        ),
        Mistake(
            key="clipped",
            diagnosis="You cut large scores off at a limit. Two scores above "
            "it then get equal weights. Subtract instead.",
            wrong=lambda x: _divide(np.exp(np.minimum(x, 700))),
        ),
        Mistake(
            key="clipped both ways",
            diagnosis="You cut the scores off at two limits. Scores beyond "
            "them then get equal weights. Subtract instead.",
            wrong=lambda x: _divide(np.exp(np.clip(x, -700, 700))),
        ),
        Mistake(
            key="axis 0",
            diagnosis="Your softmax runs over the first axis. It runs over "
            "the last one: axis=-1, in the maximum and in the sum.",
            wrong=lambda x: _divide(np.exp(x - x.max(0, keepdims=True)), 0),
        ),
        Mistake(
            key="axis 1",
            diagnosis="Your softmax runs over axis 1. That is the last axis "
            "only if there are two; axis=-1 is always the last.",
            wrong=lambda x: _divide(np.exp(x - x.max(1, keepdims=True)), 1),
        ),
        Mistake(
            key="whole array",
            diagnosis="The weights of the whole array sum to 1. Each row "
            "sums to 1 by itself: axis -1 in the maximum and in the sum.",
            wrong=lambda x: _divide(np.exp(x - x.max()), None),
        ),
        Mistake(
            key="sum over the whole array",
            diagnosis="The maximum is taken row by row, and the sum over the "
            "whole array. Both belong to one row: axis -1.",
            wrong=lambda x: _divide(
                np.exp(x - x.max(-1, keepdims=True)), None
            ),
        ),
        Mistake(
            key="nothing subtracted, no keepdims",
            diagnosis="Large scores overflow: take a constant off each row "
            "first. And the row sums lost their axis: keepdims=True.",
            wrong=lambda x: _divide(np.exp(x), keepdims=False),
        ),
        Mistake(
            key="nothing subtracted, whole array",
            diagnosis="Large scores overflow: take a constant off each row "
            "first. And each row must sum to 1 by itself: sum over axis -1.",
            wrong=lambda x: _divide(np.exp(x), None),
        ),
        Mistake(
            key="nan replaced",
            diagnosis="You replace nan afterwards, which leaves rows that do "
            "not sum to 1. Keep it from arising: take a constant off the row "
            "first.",
            wrong=lambda x: np.nan_to_num(_divide(np.exp(x))),
        ),
        Mistake(
            key="numerator only",
            diagnosis="The constant is taken off above the line only. It "
            "must be the same in the sum: exponentiate x - c once, and use "
            "that twice.",
            wrong=lambda x: (
                np.exp(x - x.max(-1, keepdims=True))
                / np.exp(x).sum(-1, keepdims=True)
            ),
        ),
        Mistake(
            key="after the exponential",
            diagnosis="You make the exponentials smaller after they have "
            "overflowed. Subtract the largest score before np.exp.",
            wrong=lambda x: _divide(
                np.exp(x) / np.exp(x).max(-1, keepdims=True)
            ),
        ),
        Mistake(
            key="no division",
            diagnosis="The exponentials are not divided by their sum.",
            wrong=lambda x: np.exp(x - x.max(-1, keepdims=True)),
        ),
        Mistake(
            key="1000 for all",
            diagnosis="A constant of 1000 helps rows near 1000 only: others "
            "become 0 / 0. Each row needs a constant of its own, from its "
            "scores.",
            wrong=lambda x: _divide(np.exp(x - 1000)),
        ),
        Mistake(
            key="axis 1, no keepdims",
            diagnosis="Your softmax runs over axis 1, and that axis is then "
            "lost. axis=-1 is always the last, and keepdims=True keeps it.",
            wrong=lambda x: np.exp(x - x.max(1)) / np.exp(x - x.max(1)).sum(1),
        ),
        Mistake(
            key="exp of math",
            diagnosis="exp from the module math takes one number. For arrays "
            "it is np.exp.",
            wrong=lambda x: exp(x - x.max()),
        ),
        Mistake(
            key="None in the second place",
            diagnosis="[:, None] puts the new axis in the second place, "
            "where it is right for two axes and no other number. "
            "keepdims=True keeps it last.",
            wrong=_second_place,
        ),
        Mistake(
            key="keepdims, both",
            diagnosis=_SHAPES,
            wrong=lambda x: _divide(
                np.exp(x - x.max(-1)), axis=-1, keepdims=False
            ),
        ),
        Mistake(
            key="keepdims, maximum",
            diagnosis=_SHAPES,
            wrong=lambda x: _divide(np.exp(x - x.max(-1))),
        ),
        Mistake(
            key="keepdims, sum",
            diagnosis=_SHAPES,
            wrong=lambda x: _divide(
                np.exp(x - x.max(-1, keepdims=True)), keepdims=False
            ),
        ),
    ),
    hints=(
        "An exponential overflows when its argument is large and positive. "
        "What is the largest argument left if you subtract c?",
        "Subtract the largest score of each row, not of the whole array: "
        "the row must keep a largest argument of exactly 0.",
        "x - x.max(-1, keepdims=True), then exp, then divide by the sum over "
        "the same axis, with keepdims=True again.",
    ),
)
