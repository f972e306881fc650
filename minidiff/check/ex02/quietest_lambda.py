"""Exercise 2.5: the lambda that leaves the least noise."""

from collections.abc import Callable
from typing import Any

import numpy as np

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.reference import softmax


def quietest_lambda(row1: np.ndarray, row2: np.ndarray, needle: int) -> float:
    """Return the lam with the least noise in row1 - lam * row2.

    Noise: the sum of squares over all keys but the needle. Rows (S,).
    """
    others1, others2 = np.delete(row1, needle), np.delete(row2, needle)
    return others1 @ others2 / (others2 @ others2)


def _cases() -> list[Case]:
    cases = []
    for seed, (S, needle) in enumerate([(5, 2), (16, 0), (3, 1), (9, 8)]):
        rng = np.random.default_rng(seed)
        shared, own = rng.normal(size=(2, S))
        scores = shared + 0.5 * own
        scores[needle] += 2.0
        cases.append(
            Case(
                name=f"S = {S}, needle = {needle}",
                args=(softmax(scores), softmax(shared), needle),
            )
        )
    return cases


def _others(
    a: np.ndarray, b: np.ndarray, needle: int
) -> tuple[np.ndarray, np.ndarray]:
    return np.delete(a, needle), np.delete(b, needle)


def _way(
    formula: Callable[[np.ndarray, np.ndarray], Any],
) -> Callable[..., Any]:
    """A formula for the two rows without the needle: the mistakes."""
    return lambda a, b, i: formula(*_others(a, b, i))


EXERCISE = Exercise(
    id="2.5",
    cases=_cases,
    solution=quietest_lambda,
    mistakes=(
        Mistake(
            key="needle included",
            diagnosis="The needle is counted as noise, so you subtract part "
            "of the signal as well. Leave it out of both sums.",
            wrong=lambda a, b, i: a @ b / (b @ b),
        ),
        Mistake(
            key="needle in one sum",
            diagnosis="The needle is left out above and counted below. "
            "Leave it out of both sums.",
            wrong=lambda a, b, i: _way(lambda x, y: x @ y)(a, b, i) / (b @ b),
        ),
        Mistake(
            key="other way round",
            diagnosis="You divide by the square of row1: that is the lambda "
            "for row2 - lam * row1. Here row2 is scaled, so divide by its "
            "square.",
            wrong=_way(lambda x, y: x @ y / (x @ x)),
        ),
        Mistake(
            key="ratio of sums",
            diagnosis="This lambda makes the noise sum to zero, so positive "
            "and negative noise hide each other. Asked for is the smallest "
            "sum of squares.",
            wrong=_way(lambda x, y: x.sum() / y.sum()),
        ),
        Mistake(
            key="ratio of sizes",
            diagnosis="You divide the size of one noise by that of the "
            "other. What can be cancelled is only what they have in common: "
            "it takes the product of the two.",
            wrong=_way(lambda x, y: np.sqrt((x @ x) / (y @ y))),
        ),
        Mistake(
            key="mean of ratios",
            diagnosis="You average the ratios of single keys, and quiet keys "
            "count as much as loud ones. Set the derivative of the sum of "
            "squares to zero.",
            wrong=_way(lambda x, y: (x / y).mean()),
        ),
        Mistake(
            key="cosine",
            diagnosis="This is the cosine between the two noises, it does "
            "not know their sizes. Divide by the square of row2's noise "
            "alone.",
            wrong=_way(lambda x, y: x @ y / np.sqrt((x @ x) * (y @ y))),
        ),
        Mistake(
            key="means removed",
            diagnosis="You subtract the means first, as a covariance does. "
            "The flat part of the noise is noise too: use the weights as "
            "they are.",
            wrong=_way(
                lambda x, y: (
                    (x - x.mean())
                    @ (y - y.mean())
                    / ((y - y.mean()) @ (y - y.mean()))
                )
            ),
        ),
        Mistake(
            key="sign",
            diagnosis="The sign is flipped. The row is row1 minus lam * "
            "row2, so noise that is alike takes a positive lam.",
            wrong=_way(lambda x, y: -(x @ y) / (y @ y)),
        ),
        Mistake(
            key="twice",
            diagnosis="Your lambda is twice too large. Both terms of the "
            "derivative have a factor 2, and it cancels.",
            wrong=_way(lambda x, y: 2 * (x @ y) / (y @ y)),
        ),
        Mistake(
            key="half",
            diagnosis="Your lambda is half of what it should be. Both terms "
            "of the derivative have a factor 2, and it cancels.",
            wrong=_way(lambda x, y: (x @ y) / (y @ y) / 2),
        ),
        Mistake(
            key="one minus the needle",
            diagnosis="1 minus the needle's weight fits rows whose noise is "
            "all shared, and only nearly. These rows share a part of it.",
            wrong=lambda a, b, i: 1 - a[i],
        ),
        Mistake(
            key="upside down",
            diagnosis="This is 1 / lambda. The derivative is zero where "
            "lambda times the sum of row2 squared equals the sum of the "
            "products.",
            wrong=_way(lambda x, y: y @ y / (x @ y)),
        ),
        Mistake(
            key="needle in the product",
            diagnosis="The needle is counted above and left out below. "
            "Leave it out of both sums.",
            wrong=lambda a, b, i: a @ b / _way(lambda x, y: y @ y)(a, b, i),
        ),
        Mistake(
            key="first key left out",
            diagnosis="You leave out key 0. The needle is the key at index "
            "needle.",
            wrong=lambda a, b, i: a[1:] @ b[1:] / (b[1:] @ b[1:]),
        ),
        Mistake(
            key="divided by the size",
            diagnosis="You divide by the length of row2's noise, the root "
            "of the sum of squares. Divide by the sum of squares.",
            wrong=_way(lambda x, y: x @ y / np.sqrt(y @ y)),
        ),
        Mistake(
            key="needle silenced",
            diagnosis="This lambda makes the needle vanish. It is the noise "
            "that should.",
            wrong=lambda a, b, i: a[i] / b[i],
        ),
        Mistake(
            key="the noise that is left",
            diagnosis="This is the smallest sum of squares itself. Return "
            "the lambda that reaches it.",
            wrong=_way(lambda x, y: x @ x - (x @ y) ** 2 / (y @ y)),
        ),
        Mistake(
            key="array of one",
            diagnosis="Your lambda is right, but it comes in an array of "
            "shape (1,). Return the number.",
            wrong=_way(lambda x, y: np.array([x @ y / (y @ y)])),
        ),
    ),
    hints=(
        "The sum of (a - lam b)^2 is a parabola in lam. Where is its lowest "
        "point?",
        "Its derivative is -2 times the sum of b (a - lam b). It is zero "
        "when the sum of a b equals lam times the sum of b^2.",
        "With a, b = np.delete(row1, needle), np.delete(row2, needle): "
        "a @ b / (b @ b).",
    ),
)
