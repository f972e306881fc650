"""Exercise 3.4: lambda of a layer."""

import numpy as np

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.reference import lambda_init


def lam_of_layer(
    lq1: np.ndarray,
    lk1: np.ndarray,
    lq2: np.ndarray,
    lk2: np.ndarray,
    layer: int,
) -> float:
    """Return lambda of one layer; layers count from 0.

    Four learned vectors (D,), one layer's own.
    """
    lam_init = 0.8 - 0.6 * np.exp(-0.3 * layer)
    return np.exp(lq1 @ lk1) - np.exp(lq2 @ lk2) + lam_init


def _cases() -> list[Case]:
    cases = []
    for seed, (D, layer) in enumerate([(4, 0), (8, 3), (64, 11)]):
        vectors = 0.3 * np.random.default_rng(seed).normal(size=(4, D))
        cases.append(
            Case(name=f"D = {D}, layer = {layer}", args=(*vectors, layer))
        )
    return cases


EXERCISE = Exercise(
    id="3.4",
    cases=_cases,
    solution=lam_of_layer,
    mistakes=(
        Mistake(
            key="layer off by one",
            diagnosis="Your schedule is one layer late: it uses layer - 1. "
            "The paper counts layers from 1, we count from 0.",
            wrong=lambda a, b, c, d, n: lam_of_layer(a, b, c, d, n - 1),
        ),
        Mistake(
            key="layer counted from one",
            diagnosis="Your schedule is one layer early: it uses layer + 1. "
            "Layers count from 0 here, so use layer as it comes.",
            wrong=lambda a, b, c, d, n: lam_of_layer(a, b, c, d, n + 1),
        ),
        Mistake(
            key="no lam_init",
            diagnosis="lam_init is not added. Without it lambda starts near "
            "0 and nothing is subtracted.",
            wrong=lambda a, b, c, d, n: np.exp(a @ b) - np.exp(c @ d),
        ),
        Mistake(
            key="exponentials added",
            diagnosis="The second exponential is added. It is subtracted: "
            "zero vectors must give lam_init exactly.",
            wrong=lambda a, b, c, d, n: (
                lam_of_layer(a, b, c, d, n) + 2 * np.exp(c @ d)
            ),
        ),
        Mistake(
            key="no exponential",
            diagnosis="The dot products are used as they are. Each goes "
            "through exp first.",
            wrong=lambda a, b, c, d, n: a @ b - c @ d + lambda_init(n),
        ),
        Mistake(
            key="exponential of each product",
            diagnosis="You take exp of every product and then sum. Sum "
            "first, the dot product, then one exp.",
            wrong=lambda a, b, c, d, n: (
                np.exp(a * b).sum() - np.exp(c * d).sum() + lambda_init(n)
            ),
        ),
        Mistake(
            key="terms swapped",
            diagnosis="The first exponential is taken from the second. It is "
            "the other way round.",
            wrong=lambda a, b, c, d, n: lam_of_layer(c, d, a, b, n),
        ),
        Mistake(
            key="wrong partners",
            diagnosis="The vectors have the wrong partners. The products are "
            "lq1 with lk1, and lq2 with lk2.",
            wrong=lambda a, b, c, d, n: lam_of_layer(a, c, b, d, n),
            also=(lambda a, b, c, d, n: lam_of_layer(a, d, c, b, n),),
        ),
        Mistake(
            key="one exponential",
            diagnosis="You take one exponential of the difference. Each dot "
            "product has its own, and then they are subtracted.",
            wrong=lambda a, b, c, d, n: np.exp(a @ b - c @ d) + lambda_init(n),
        ),
        Mistake(
            key="exponentials of the vectors",
            diagnosis="You take exp of the vectors and multiply then. First "
            "the dot product, then exp of that one number.",
            wrong=lambda a, b, c, d, n: (
                np.exp(a) @ np.exp(b) - np.exp(c) @ np.exp(d) + lambda_init(n)
            ),
        ),
        Mistake(
            key="lam_init subtracted",
            diagnosis="lam_init is subtracted. It is added.",
            wrong=lambda a, b, c, d, n: (
                lam_of_layer(a, b, c, d, n) - 2 * lambda_init(n)
            ),
        ),
        Mistake(
            key="schedule rising",
            diagnosis="The exponent of the schedule has lost its minus: "
            "0.8 - 0.6 * exp(-0.3 * layer) stays below 0.8.",
            wrong=lambda a, b, c, d, n: lam_of_layer(a, b, c, d, -n),
        ),
        Mistake(
            key="no schedule",
            diagnosis="lam_init is the same for every layer. It grows with "
            "the layer: 0.8 - 0.6 * exp(-0.3 * layer).",
            wrong=lambda a, b, c, d, n: (
                lam_of_layer(a, b, c, d, n) - lambda_init(n) + 0.8
            ),
            also=(lambda a, b, c, d, n: lam_of_layer(a, b, c, d, 0),),
        ),
        Mistake(
            key="product without a sum",
            diagnosis="The vectors are multiplied entry by entry and not "
            "added up, so D numbers come back. The dot product is one.",
            wrong=lambda a, b, c, d, n: (
                np.exp(a * b) - np.exp(c * d) + lambda_init(n)
            ),
        ),
    ),
    hints=(
        "Three terms. Which of them is a constant of the layer?",
        "A dot product of two vectors is lq1 @ lk1: one number, and exp of "
        "it is one number.",
        "exp(lq1 @ lk1) - exp(lq2 @ lk2) + 0.8 - 0.6 * exp(-0.3 * layer).",
    ),
)
