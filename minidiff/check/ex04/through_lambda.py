"""Exercise 4.3: backward to lambda's four vectors."""

import numpy as np

from minidiff.check.core import Case, Exercise, Mistake


def through_lambda(vectors: np.ndarray, dlam: float) -> np.ndarray:
    """Return the gradients of lq1, lk1, lq2, lk2, shaped like vectors.

    vectors (4, D): lq1, lk1, lq2, lk2; dlam: the gradient of lambda.
    """
    lq1, lk1, lq2, lk2 = vectors
    first = dlam * np.exp(lq1 @ lk1)
    second = -dlam * np.exp(lq2 @ lk2)
    return np.stack([first * lk1, first * lq1, second * lk2, second * lq2])


def _cases() -> list[Case]:
    cases = []
    for seed, (D, dlam) in enumerate([(1, 1.0), (4, -0.7), (3, 2.5)]):
        vectors = 0.6 * np.random.default_rng(seed).normal(size=(4, D))
        cases.append(
            Case(name=f"D = {D}, dlam = {dlam}", args=(vectors, dlam))
        )
    return cases


def _exponentials(vectors: np.ndarray) -> np.ndarray:
    """Both exponentials, (2, 1)."""
    return np.exp((vectors[::2] * vectors[1::2]).sum(-1, keepdims=True))


def _partners(vectors: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Each vector's partner times the factor of its pair, (2, 1 or D)."""
    return vectors[[1, 0, 3, 2]] * np.repeat(factors, 2, 0)


def _in_one_pair(x: np.ndarray, dlam: float, pair: int) -> np.ndarray:
    """The gradients with one of the two exponentials missing."""
    factors = dlam * _SIGNS * _exponentials(x)
    factors[pair] = dlam * _SIGNS[pair]
    return _partners(x, factors)


_SIGNS = np.array([[1.0], [-1.0]])

EXERCISE = Exercise(
    id="4.3",
    cases=_cases,
    solution=through_lambda,
    mistakes=(
        Mistake(
            key="own vector",
            diagnosis="Each gradient is a multiple of the vector itself. The "
            "slope of a . b in a is b, its partner.",
            wrong=lambda x, dlam: through_lambda(x, dlam)[[1, 0, 3, 2]],
        ),
        Mistake(
            key="minus dropped",
            diagnosis="The second pair has the wrong sign: its exponential "
            "is subtracted.",
            wrong=lambda x, dlam: _partners(x, dlam * _exponentials(x)),
        ),
        Mistake(
            key="no exponential",
            diagnosis="The exponentials are missing: the slope of exp(u) is "
            "exp(u) times the slope of u.",
            wrong=lambda x, dlam: _partners(x, dlam * _SIGNS),
            also=(
                lambda x, dlam: _in_one_pair(x, dlam, 0),
                lambda x, dlam: _in_one_pair(x, dlam, 1),
            ),
        ),
        Mistake(
            key="entry by entry",
            diagnosis="You take the exponential of each product. It is one "
            "exponential, of the dot product: exp(lq1 @ lk1).",
            wrong=lambda x, dlam: _partners(
                x, dlam * _SIGNS * np.exp(x[::2] * x[1::2])
            ),
        ),
        Mistake(
            key="one exponential",
            diagnosis="Both pairs use the first pair's exponential. Each "
            "pair has its own.",
            wrong=lambda x, dlam: _partners(
                x, dlam * _SIGNS * _exponentials(x)[0]
            ),
        ),
        Mistake(
            key="difference in front",
            diagnosis="You multiply by the difference of both exponentials. "
            "A vector moves only the exponential it stands in.",
            wrong=lambda x, dlam: _partners(
                x,
                np.full((2, 1), dlam * (_SIGNS * _exponentials(x)).sum()),
            ),
        ),
        Mistake(
            key="dlam dropped",
            diagnosis="dlam is not used. The chain rule multiplies by it.",
            wrong=lambda x, dlam: through_lambda(x, 1.0),
        ),
        Mistake(
            key="not stacked",
            diagnosis="The four gradients are right, but come one by one. "
            "np.stack makes one array of them, shaped like vectors.",
            wrong=lambda x, dlam: tuple(through_lambda(x, dlam)),
        ),
        Mistake(
            key="order",
            diagnosis="The results come in another order: lq1, lk1, lq2, "
            "lk2, as in vectors.",
            wrong=lambda x, dlam: through_lambda(x, dlam)[[0, 2, 1, 3]],
        ),
        Mistake(
            key="vectors read in another order",
            diagnosis="You read vectors as lq1, lq2, lk1, lk2. The rows are "
            "lq1, lk1, lq2, lk2: partners are neighbours.",
            wrong=lambda x, dlam: through_lambda(x[[0, 2, 1, 3]], dlam)[
                [0, 2, 1, 3]
            ],
        ),
    ),
    hints=(
        "In which of the two exponentials does lq1 stand?",
        "The slope of exp(lq1 @ lk1) in lq1 is that exponential times the "
        "slope of lq1 @ lk1, which is lk1.",
        "With a = dlam * exp(lq1 @ lk1) and b = -dlam * exp(lq2 @ lk2): "
        "stack a * lk1, a * lq1, b * lk2, b * lq2.",
    ),
)
