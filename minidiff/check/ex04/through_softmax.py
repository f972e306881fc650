"""Exercise 4.2: backward through a softmax."""

import numpy as np

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.check.imported import own_work
from minidiff.reference import softmax, softmax_backward


def through_softmax(A: np.ndarray, dA: np.ndarray) -> np.ndarray:
    """Return the gradient of the scores, shaped like A and dA (..., T, S).

    A: the weights, each row a softmax of scores; dA: their gradient.
    """
    mean = (dA * A).sum(-1, keepdims=True)
    return A * (dA - mean)


def _cases() -> list[Case]:
    by_hand = np.array([[0.5, 0.25, 0.25]]), np.array([[1.0, 0.0, 0.0]])
    cases = [Case(name="weights (1/2, 1/4, 1/4), dA (1, 0, 0)", args=by_hand)]
    for seed, shape in enumerate(
        [(4, 4), (3, 3, 3), (3, 5), (2, 3, 4), (2, 1)]
    ):
        x, dA = np.random.default_rng(seed).normal(size=(2, *shape))
        cases.append(
            Case(name=f"maps of shape {shape}", args=(softmax(x), dA))
        )
    return cases


def _others_and_own(A: np.ndarray, dA: np.ndarray) -> np.ndarray:
    every = (dA * A).sum(-1, keepdims=True)
    return A * (1 - A) * dA - A * every


EXERCISE = Exercise(
    id="4.2",
    cases=_cases,
    solution=through_softmax,
    run=own_work(softmax_backward),
    mistakes=(
        Mistake(
            key="imported answer",
            diagnosis="You call minidiff's own function, rule 1 of the cold "
            "open. Write the formula yourself: add over the paths.",
            wrong=lambda A, dA: softmax_backward(A, dA),
        ),
        Mistake(
            key="mean forgotten",
            diagnosis="This is rule 2 of the cold open, A * dA: a raised "
            "score also lowers all other weights of its row. Those paths are "
            "missing.",
            wrong=lambda A, dA: A * dA,
        ),
        Mistake(
            key="own path only",
            diagnosis="You use A (1 - A), the path from a score to its own "
            "weight. The paths to the other weights, -A_i A_j each, are "
            "missing.",
            wrong=lambda A, dA: A * (1 - A) * dA,
        ),
        Mistake(
            key="own path twice",
            diagnosis="You add A (1 - A) dA and the paths to *all* weights. "
            "The second sum is over the others, j not i; as it stands, the "
            "term A_i A_i is taken off twice.",
            wrong=_others_and_own,
        ),
        Mistake(
            key="wrong axis",
            diagnosis="You sum down the columns. A softmax ties the keys of "
            "one row together: sum over the last axis.",
            wrong=lambda A, dA: A * (dA - (dA * A).sum(-2, keepdims=True)),
        ),
        Mistake(
            key="whole map",
            diagnosis="You sum over the whole array. Each row is a softmax "
            "by itself: sum over the last axis only.",
            wrong=lambda A, dA: A * (dA - (dA * A).sum()),
        ),
        Mistake(
            key="keepdims",
            diagnosis="The row sums have lost their last axis, so they are "
            "subtracted from the wrong entries, or do not fit. Use "
            "keepdims=True.",
            wrong=lambda A, dA: A * (dA - (dA * A).sum(-1)),
        ),
        Mistake(
            key="plain sum",
            diagnosis="You subtract the sum of dA. Each path carries its own "
            "weight: sum dA * A.",
            wrong=lambda A, dA: A * (dA - dA.sum(-1, keepdims=True)),
        ),
        Mistake(
            key="plain mean",
            diagnosis="You subtract the plain mean of dA. It is the mean "
            "weighted by attention: the sum of dA * A.",
            wrong=lambda A, dA: A * (dA - dA.mean(-1, keepdims=True)),
        ),
        Mistake(
            key="mean of the products",
            diagnosis="You take the plain mean of dA * A. The weights sum to "
            "1 already, so the weighted mean is the *sum* of dA * A.",
            wrong=lambda A, dA: A * (dA - (dA * A).mean(-1, keepdims=True)),
        ),
        Mistake(
            key="others' sign",
            diagnosis="The sum over the paths is added. A raised score "
            "*lowers* the other weights: it comes off.",
            wrong=lambda A, dA: A * (dA + (dA * A).sum(-1, keepdims=True)),
        ),
        Mistake(
            key="no A on the sum",
            diagnosis="The sum over the paths lacks a factor. A path from "
            "score i to weight j is -A_i A_j: the sum over j holds A_j, and "
            "A_i stands in front of it.",
            wrong=lambda A, dA: A * dA - (dA * A).sum(-1, keepdims=True),
        ),
        Mistake(
            key="1 - A as well",
            diagnosis="You have the weighted mean and a factor 1 - A. The "
            "mean over *all* keys holds the -A_i A_i of the own path "
            "already: drop 1 - A.",
            wrong=lambda A, dA: (1 - A) * through_softmax(A, dA),
        ),
        Mistake(
            key="through Z only",
            diagnosis="Only the part -A_i times the sum of A_j dA_j is here. "
            "A raised score also raises its own weight: the term A_i dA_i "
            "is missing.",
            wrong=lambda A, dA: -A * (dA * A).sum(-1, keepdims=True),
        ),
        Mistake(
            key="axis put back too early",
            diagnosis="[:, None] puts the lost axis back in second place, "
            "which fits (T, S) and no other shape. Use keepdims=True, or "
            "[..., None].",
            wrong=lambda A, dA: A * (dA - (dA * A).sum(-1)[:, None]),
        ),
        Mistake(
            key="factor A forgotten",
            diagnosis="The factor A in front is missing: every path to a "
            "score of key i has A_i in it.",
            wrong=lambda A, dA: dA - (dA * A).sum(-1, keepdims=True),
        ),
        Mistake(
            key="sign",
            diagnosis="The sign is wrong: more score, more weight, so dA "
            "itself enters with a plus.",
            wrong=lambda A, dA: A * ((dA * A).sum(-1, keepdims=True) - dA),
        ),
    ),
    hints=(
        "Score i reaches the loss through every weight j. What is dA_j times "
        "the slope of A_j, for j = i, and for another j?",
        "Together: A_i dA_i minus the sum over *all* j of A_i A_j dA_j. What "
        "can be taken out of the sum?",
        "A * (dA - m), where m is (dA * A).sum(-1, keepdims=True).",
    ),
)
