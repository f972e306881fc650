"""Exercise 4.3: backward through the difference of two softmaxes."""

import numpy as np

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.reference import softmax, softmax_backward

Pair = tuple[np.ndarray, np.ndarray]


def through_difference(
    A1: np.ndarray, A2: np.ndarray, lam: float, dA: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return dS1 and dS2, the gradients of the two branches' scores.

    A1, A2 (T, S): the softmax maps; dA (T, S): the gradient of A1 - lam A2.
    """
    return softmax_backward(A1, dA), softmax_backward(A2, -lam * dA)


def _cases() -> list[Case]:
    cases = []
    for seed, (T, S, lam) in enumerate(
        [(1, 3, 0.75), (4, 4, 0.2), (3, 5, 1.3), (4, 4, -0.3)]
    ):
        x1, x2, dA = np.random.default_rng(seed).normal(size=(3, T, S))
        cases.append(
            Case(
                name=f"T = {T}, S = {S}, lam = {lam}",
                args=(softmax(x1), softmax(x2), lam, dA),
            )
        )
    return cases


def _like(
    A1: np.ndarray,
    A2: np.ndarray,
    dA: np.ndarray,
    factor: float,
    mean1: np.ndarray,
    mean2: np.ndarray,
) -> Pair:
    """Both gradients, with these maps to weight the two means."""
    m1 = (dA * mean1).sum(-1, keepdims=True)
    m2 = (dA * mean2).sum(-1, keepdims=True)
    return A1 * (dA - m1), factor * A2 * (dA - m2)


EXERCISE = Exercise(
    id="4.3",
    cases=_cases,
    solution=through_difference,
    mistakes=(
        Mistake(
            key="lam dropped",
            diagnosis="dS2 lacks lam: the second map enters the difference "
            "lam times.",
            wrong=lambda A1, A2, lam, dA: _like(A1, A2, dA, -1, A1, A2),
        ),
        Mistake(
            key="sign",
            diagnosis="dS2 has the wrong sign: the second map is taken away.",
            wrong=lambda A1, A2, lam, dA: _like(A1, A2, dA, lam, A1, A2),
        ),
        Mistake(
            key="lam and sign dropped",
            diagnosis="Branch 2 is treated like branch 1. It enters with the "
            "factor -lam.",
            wrong=lambda A1, A2, lam, dA: _like(A1, A2, dA, 1, A1, A2),
        ),
        Mistake(
            key="lam twice",
            diagnosis="-lam stands in dS2 twice. It is one factor, once on "
            "the way from the difference to A2.",
            wrong=lambda A1, A2, lam, dA: _like(A1, A2, dA, lam**2, A1, A2),
        ),
        Mistake(
            key="lam in the map",
            diagnosis="You hand softmax_backward the map times -lam. It "
            "wants the softmax itself, whose rows sum to 1; -lam belongs to "
            "dA.",
            wrong=lambda A1, A2, lam, dA: _like(
                A1, A2, dA, -lam, A1, -lam * A2
            ),
        ),
        Mistake(
            key="lam in the map, minus outside",
            diagnosis="You hand softmax_backward the map times lam. It wants "
            "the softmax itself, whose rows sum to 1; -lam belongs to dA.",
            wrong=lambda A1, A2, lam, dA: _like(
                A1, A2, dA, -lam, A1, lam * A2
            ),
        ),
        Mistake(
            key="A1 in both",
            diagnosis="dS2 goes through A1. Branch 2 has a map of its own, "
            "A2.",
            wrong=lambda A1, A2, lam, dA: _like(A1, A1, dA, -lam, A1, A1),
        ),
        Mistake(
            key="arguments swapped",
            diagnosis="softmax_backward takes the map first and its gradient "
            "second.",
            wrong=lambda A1, A2, lam, dA: (
                softmax_backward(dA, A1),
                softmax_backward(-lam * dA, A2),
            ),
        ),
        Mistake(
            key="-lam in both",
            diagnosis="-lam stands in both results. A1 enters the difference "
            "with slope 1.",
            wrong=lambda A1, A2, lam, dA: _like(
                -lam * A1, A2, dA, -lam, A1, A2
            ),
        ),
        Mistake(
            key="mean of the difference",
            diagnosis="Both branches use the row sums of dA with the "
            "difference A1 - lam A2. Each softmax has a mean of its own, "
            "weighted by its own map.",
            wrong=lambda A1, A2, lam, dA: _like(
                A1, A2, dA, -lam, A1 - lam * A2, A1 - lam * A2
            ),
        ),
        Mistake(
            key="mean of branch 1",
            diagnosis="dS2 uses the row sums of branch 1. Its own are the "
            "row sums of dA * A2.",
            wrong=lambda A1, A2, lam, dA: _like(A1, A2, dA, -lam, A1, A1),
        ),
        Mistake(
            key="means forgotten",
            diagnosis="The row sums are missing: this is rule 2 of the cold "
            "open, in both branches. softmax_backward has them.",
            wrong=lambda A1, A2, lam, dA: (A1 * dA, -lam * A2 * dA),
        ),
        Mistake(
            key="one softmax",
            diagnosis="You pass A1 - lam A2 through the backward of a "
            "softmax. The difference is not one: its rows sum to 1 - lam. "
            "Pass each map through by itself.",
            wrong=lambda A1, A2, lam, dA: (
                softmax_backward(A1 - lam * A2, dA),
                -lam * softmax_backward(A1 - lam * A2, dA),
            ),
        ),
        Mistake(
            key="maps, not scores",
            diagnosis="These are the gradients of the two maps. The scores "
            "lie one softmax further back.",
            wrong=lambda A1, A2, lam, dA: (dA, -lam * dA),
        ),
        Mistake(
            key="order",
            diagnosis="The two results are swapped: dS1 comes first.",
            wrong=lambda *a: through_difference(*a)[::-1],
        ),
    ),
    hints=(
        "What are the gradients of the two maps, dA1 and dA2? Equation 4.6 "
        "has them.",
        "Each map is a softmax of its own scores, so each goes through its "
        "own softmax_backward.",
        "softmax_backward(A1, dA) and softmax_backward(A2, -lam * dA).",
    ),
)
