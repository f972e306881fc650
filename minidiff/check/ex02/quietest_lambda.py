"""Exercise 2.4: the one lambda that leaves the least noise in many rows."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.reference import softmax


def quietest_lambda(
    A1: np.ndarray, A2: np.ndarray, needle: int
) -> tuple[float, float]:
    """Return the one lam with the least noise, and the share that is left.

    A1, A2 (N, S): N pairs of rows. The noise of A1 - lam A2 is the sum of
    squares over all rows and all keys but the needle, whose index is needle.
    The share that is left is this noise divided by the noise of A1 alone.
    """
    others1, others2 = np.delete(A1, needle, 1), np.delete(A2, needle, 1)
    lam = (others1 * others2).sum() / (others2**2).sum()
    left = ((others1 - lam * others2) ** 2).sum() / (others1**2).sum()
    return lam, left


def _cases() -> list[Case]:
    cases = []
    for seed, (N, S, needle) in enumerate(
        [(1, 5, 2), (4, 9, 8), (6, 4, 0), (3, 16, 5)]
    ):
        rng = np.random.default_rng(seed)
        level = np.linspace(0.5, 2, N)[:, None]
        shared, own = level * rng.normal(size=(2, N, S))
        scores = shared + 0.5 * own
        scores[:, needle] += 2.0
        cases.append(
            Case(
                name=f"N = {N}, S = {S}, needle = {needle}",
                args=(softmax(scores), softmax(shared), needle),
            )
        )
    return cases


Formula = Callable[[np.ndarray, np.ndarray], Any]


def _lam(formula: Formula) -> Callable[..., Any]:
    """Another lambda, from the rows without the needle, and its share."""

    def answer(A1: np.ndarray, A2: np.ndarray, needle: int) -> Any:
        a, b = np.delete(A1, needle, 1), np.delete(A2, needle, 1)
        lam = formula(a, b)
        return lam, ((a - lam * b) ** 2).sum() / (a**2).sum()

    return answer


def _left(
    formula: Callable[[np.ndarray, np.ndarray, float], Any],
) -> Callable[..., Any]:
    """The right lambda with another share."""

    def answer(A1: np.ndarray, A2: np.ndarray, needle: int) -> Any:
        a, b = np.delete(A1, needle, 1), np.delete(A2, needle, 1)
        lam = (a * b).sum() / (b**2).sum()
        return lam, formula(a, b, lam)

    return answer


def _on(
    A1: np.ndarray,
    A2: np.ndarray,
    needle: int,
    remove: Callable[[np.ndarray, int], np.ndarray],
    only_lam: bool = False,
) -> tuple[float, float]:
    """The right formulas for other keys; the share too, or lambda alone."""
    a, b = remove(A1, needle), remove(A2, needle)
    lam = (a * b).sum() / (b**2).sum()
    if only_lam:
        a, b = np.delete(A1, needle, 1), np.delete(A2, needle, 1)
    return lam, ((a - lam * b) ** 2).sum() / (a**2).sum()


def _everything(A: np.ndarray, needle: int) -> np.ndarray:
    return A


def _of_rows(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The best lambda of each row, (N,)."""
    return (a * b).sum(-1) / (b**2).sum(-1)


def _row_by_row(A1: np.ndarray, A2: np.ndarray, needle: int) -> Any:
    a, b = np.delete(A1, needle, 1), np.delete(A2, needle, 1)
    lam = _of_rows(a, b)
    return lam, ((a - lam[:, None] * b) ** 2).sum() / (a**2).sum()


EXERCISE = Exercise(
    id="2.4",
    cases=_cases,
    solution=quietest_lambda,
    results=("lam", "share that is left"),
    mistakes=(
        Mistake(
            key="needle included",
            diagnosis="The needle is counted as noise, so you subtract part "
            "of the signal as well. Leave its column out of all sums.",
            wrong=partial(_on, remove=_everything),
            also=(partial(_on, remove=_everything, only_lam=True),),
        ),
        Mistake(
            key="one entry deleted",
            diagnosis="np.delete without an axis flattens the array and "
            "takes out one entry of it. Give it axis 1, to take out the "
            "needle's column.",
            wrong=partial(_on, remove=lambda A, i: np.delete(A, i)),
        ),
        Mistake(
            key="a row deleted",
            diagnosis="You delete along axis 0: that takes out a row. Keys "
            "are on axis 1.",
            wrong=partial(_on, remove=lambda A, i: np.delete(A, i, 0)),
        ),
        Mistake(
            key="first key left out",
            diagnosis="You leave out key 0. The needle is the key at index "
            "needle.",
            wrong=partial(_on, remove=lambda A, i: A[:, 1:]),
        ),
        Mistake(
            key="mean of the rows' lambdas",
            diagnosis="You average the best lambdas of the rows. Rows with "
            "much noise must count more: write down the noise of all rows, "
            "as one sum, and set its derivative to zero.",
            wrong=_lam(lambda a, b: _of_rows(a, b).mean()),
            also=(
                lambda A1, A2, i: (
                    _row_by_row(A1, A2, i)[0].mean(),
                    _row_by_row(A1, A2, i)[1],
                ),
            ),
        ),
        Mistake(
            key="a lambda for each row",
            diagnosis="You return a lambda for each row. A layer has one for "
            "all rows: sum over rows too.",
            wrong=_row_by_row,
            also=(
                lambda A1, A2, i: (
                    _row_by_row(A1, A2, i)[0],
                    quietest_lambda(A1, A2, i)[1],
                ),
            ),
        ),
        Mistake(
            key="a lambda for each key",
            diagnosis="You return a lambda for each key: your sums run over "
            "the rows only. A layer has one: sum over keys too.",
            wrong=_lam(lambda a, b: (a * b).sum(0) / (b * b).sum(0)),
        ),
        Mistake(
            key="matrix product",
            diagnosis="a @ b.T also multiplies rows that do not belong "
            "together, row 0 of one with row 1 of the other. Multiply entry "
            "by entry: (a * b).sum().",
            wrong=_lam(lambda a, b: (a @ b.T).sum() / (b @ b.T).sum()),
        ),
        Mistake(
            key="square of the sum",
            diagnosis="You divide by the square of a sum. It is the sum of "
            "the squares: (b**2).sum(), not b.sum()**2.",
            wrong=_lam(lambda a, b: (a * b).sum() / b.sum() ** 2),
        ),
        Mistake(
            key="not squared",
            diagnosis="lam is right. In the second number the differences "
            "are added with their signs, so noise hides itself. Square them.",
            wrong=_left(lambda a, b, lam: (a - lam * b).sum() / a.sum()),
        ),
        Mistake(
            key="other way round",
            diagnosis="You divide by the squares of A1: that is the lambda "
            "for A2 - lam * A1. Here A2 is scaled, so divide by its squares.",
            wrong=_lam(lambda a, b: (a * b).sum() / (a * a).sum()),
        ),
        Mistake(
            key="ratio of sums",
            diagnosis="This lambda makes the noise sum to zero, so positive "
            "and negative noise hide each other. Asked for is the smallest "
            "sum of squares.",
            wrong=_lam(lambda a, b: a.sum() / b.sum()),
        ),
        Mistake(
            key="ratio of sizes",
            diagnosis="You divide the size of one noise by that of the "
            "other. What can be cancelled is only what they have in common: "
            "it takes the product of the two.",
            wrong=_lam(lambda a, b: np.sqrt((a * a).sum() / (b * b).sum())),
        ),
        Mistake(
            key="mean of ratios",
            diagnosis="You average the ratios of single keys, and quiet keys "
            "count as much as loud ones. Set the derivative of the sum of "
            "squares to zero.",
            wrong=_lam(lambda a, b: (a / b).mean()),
        ),
        Mistake(
            key="cosine",
            diagnosis="This is the cosine between the two noises, it does "
            "not know their sizes. Divide by the squares of A2 alone.",
            wrong=_lam(
                lambda a, b: (
                    (a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum())
                )
            ),
        ),
        Mistake(
            key="sign",
            diagnosis="The sign of lam is flipped. The rows are A1 minus "
            "lam * A2, so noise that is alike takes a positive lam.",
            wrong=_lam(lambda a, b: -(a * b).sum() / (b * b).sum()),
        ),
        Mistake(
            key="twice",
            diagnosis="Your lam is twice too large. Both terms of the "
            "derivative have a factor 2, and it cancels.",
            wrong=_lam(lambda a, b: 2 * (a * b).sum() / (b * b).sum()),
        ),
        Mistake(
            key="half",
            diagnosis="Your lam is half of what it should be. Both terms of "
            "the derivative have a factor 2, and it cancels.",
            wrong=_lam(lambda a, b: (a * b).sum() / (b * b).sum() / 2),
        ),
        Mistake(
            key="upside down",
            diagnosis="This is 1 / lam. The derivative is zero where lam "
            "times the sum of A2's squares equals the sum of the products.",
            wrong=_lam(lambda a, b: (b * b).sum() / (a * b).sum()),
        ),
        Mistake(
            key="divided by the size",
            diagnosis="You divide by the root of the sum of A2's squares. "
            "Divide by the sum itself.",
            wrong=_lam(lambda a, b: (a * b).sum() / np.sqrt((b * b).sum())),
        ),
        Mistake(
            key="the noise itself",
            diagnosis="lam is right. The second number is the noise that is "
            "left; asked for is its share: divide by the noise of A1.",
            wrong=_left(lambda a, b, lam: ((a - lam * b) ** 2).sum()),
        ),
        Mistake(
            key="the share removed",
            diagnosis="lam is right. The second number is the share that was "
            "removed; asked for is what is left, 1 minus it.",
            wrong=_left(
                lambda a, b, lam: 1 - ((a - lam * b) ** 2).sum() / (a**2).sum()
            ),
        ),
        Mistake(
            key="root of the share",
            diagnosis="lam is right. The second number is the root of the "
            "share: noise is a sum of squares, without a root.",
            wrong=_left(
                lambda a, b, lam: np.sqrt(
                    ((a - lam * b) ** 2).sum() / (a**2).sum()
                )
            ),
        ),
        Mistake(
            key="absolute values",
            diagnosis="lam is right. The second number is made of absolute "
            "values; noise is a sum of squares.",
            wrong=_left(
                lambda a, b, lam: np.abs(a - lam * b).sum() / np.abs(a).sum()
            ),
        ),
        Mistake(
            key="mean of the rows' shares",
            diagnosis="lam is right. The second number is the mean of the "
            "rows' shares; asked for is one share, of all noise together.",
            wrong=_left(
                lambda a, b, lam: (
                    ((a - lam * b) ** 2).sum(-1) / (a**2).sum(-1)
                ).mean()
            ),
        ),
        Mistake(
            key="share of A2",
            diagnosis="lam is right. The noise that is left is divided by "
            "that of A2. Divide by the noise of A1.",
            wrong=_left(
                lambda a, b, lam: ((a - lam * b) ** 2).sum() / (b**2).sum()
            ),
        ),
        Mistake(
            key="needle in the share",
            diagnosis="lam is right, but the share counts the needle as "
            "noise. Leave its column out there too.",
            wrong=lambda A1, A2, i: (
                quietest_lambda(A1, A2, i)[0],
                ((A1 - quietest_lambda(A1, A2, i)[0] * A2) ** 2).sum()
                / (A1**2).sum(),
            ),
            also=(
                lambda A1, A2, i: (
                    quietest_lambda(A1, A2, i)[0],
                    ((A1 - quietest_lambda(A1, A2, i)[0] * A2) ** 2).sum()
                    / (np.delete(A1, i, 1) ** 2).sum(),
                ),
            ),
        ),
        Mistake(
            key="swapped",
            diagnosis="Both numbers are right, in the wrong order: lam "
            "first, then the share.",
            wrong=lambda *a: quietest_lambda(*a)[::-1],
        ),
        Mistake(
            key="only lam",
            diagnosis="This is the right lam. Return two numbers: lam, and "
            "the share of the noise that is left.",
            wrong=lambda *a: quietest_lambda(*a)[0],
        ),
        Mistake(
            key="in one array",
            diagnosis="Both numbers are right, but they come in one array. "
            "Return two numbers: return lam, left.",
            wrong=lambda *a: np.array(quietest_lambda(*a)),
        ),
    ),
    hints=(
        "Call the two arrays without the needle's column a and b. The sum of "
        "(a - lam b)^2 over all entries is a parabola in lam. Where is its "
        "lowest point?",
        "Its derivative is -2 times the sum of b (a - lam b). It is zero "
        "when the sum of a b equals lam times the sum of b^2. All sums run "
        "over rows and keys.",
        "With a, b = np.delete(A1, needle, 1), np.delete(A2, needle, 1): lam "
        "= (a * b).sum() / (b * b).sum(). Then the noise of a - lam * b, "
        "divided by the noise of a.",
    ),
)
