"""Exercise 25.2: how a relative error grows in a difference."""

from collections.abc import Callable
from math import sqrt

import numpy as np

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.check.edited import slip


def growth(lam: float, outputs: float, errors: float) -> float:
    """Return the relative error of a difference over that of one branch.

    The outputs o1 and o2 of two branches are vectors of equal norm, and
    ``outputs`` is the cosine of the angle between them. Their rounding errors
    e1 and e2 are much smaller vectors, also of equal norm, and ``errors`` is
    the cosine between these. Compare o1 - lam o2, whose error is e1 - lam e2,
    with o1, whose error is e1. A relative error is the norm of the error over
    the norm of the output. The cosine of the outputs is below 1.
    """
    error = np.sqrt(1 + lam**2 - 2 * lam * errors)
    return float(error / np.sqrt(1 + lam**2 - 2 * lam * outputs))


def _cases() -> list[Case]:
    return [
        Case(
            name=f"lam = {lam}, outputs = {outputs}, errors = {errors}",
            args=(lam, outputs, errors),
        )
        for lam, outputs, errors in (
            (0.0, 0.5, 0.0),
            (0.8, 0.0, 0.0),
            (0.8, 0.9, 0.9),
            (0.8, 0.99, 0.0),
            (0.5, 0.9, 0.3),
            (1.2, 0.6, -0.2),
        )
    ]


Norm = Callable[[float, float], float]


def _square(lam: float, cosine: float) -> float:
    return 1 + lam**2 - 2 * lam * cosine


def _norm(lam: float, cosine: float) -> float:
    return sqrt(_square(lam, cosine))


def _over(error: Norm, output: Norm) -> Callable[..., float]:
    def answer(lam: float, outputs: float, errors: float) -> float:
        return error(lam, errors) / output(lam, outputs)

    return answer


def _inverse(lam: float, outputs: float, errors: float) -> float:
    return _norm(lam, outputs) / _norm(lam, errors)


EXERCISE = Exercise(
    id="25.2",
    cases=_cases,
    solution=growth,
    mistakes=(
        Mistake(
            key="squares",
            diagnosis="That is the ratio of the squared norms: the root is "
            "missing.",
            wrong=_over(_square, _square),
        ),
        Mistake(
            key="upside down",
            diagnosis="Your ratio is upside down: the error is above, the "
            "output below.",
            wrong=_inverse,
        ),
        Mistake(
            key="output ignored",
            diagnosis="You return how much the error itself grows. A relative "
            "error is divided by the output, and that has become smaller.",
            wrong=_over(_norm, lambda lam, c: 1.0),
        ),
        Mistake(
            key="error ignored",
            diagnosis="You return how much the output shrinks, as if the "
            "error stayed what it was in one branch. It is e1 - lam e2.",
            wrong=_over(lambda lam, c: 1.0, _norm),
        ),
        Mistake(
            key="errors always independent",
            diagnosis="You do not use the cosine of the errors. Where they "
            "point the same way, they cancel like the outputs.",
            wrong=_over(lambda lam, c: _norm(lam, 0), _norm),
        ),
        Mistake(
            key="worst case",
            diagnosis="You add the norms of the two errors. That is the worst "
            "case; here the angle between them is known.",
            wrong=_over(lambda lam, c: 1 + lam, _norm),
        ),
        Mistake(
            key="sum",
            diagnosis="You have the norms of sums. In |a - lam b|^2 the mixed "
            "term is negative.",
            wrong=_over(
                lambda lam, c: _norm(lam, -c), lambda lam, c: _norm(lam, -c)
            ),
        ),
        Mistake(
            key="lambda not squared",
            diagnosis="You have lam where lam^2 belongs: |lam b|^2 is lam^2 "
            "|b|^2.",
            wrong=_over(
                lambda lam, c: sqrt(1 + lam - 2 * lam * c),
                lambda lam, c: sqrt(1 + lam - 2 * lam * c),
            ),
        ),
        Mistake(
            key="mixed term once",
            diagnosis="The mixed term of a square comes twice: -2 lam times "
            "the cosine.",
            wrong=_over(
                lambda lam, c: _norm(lam, c / 2),
                lambda lam, c: _norm(lam, c / 2),
            ),
        ),
        slip(
            "one square",
            "One of the two norms is squared: a root is missing, of the "
            "error or of the output.",
            growth,
            (
                "error / np.sqrt(1 + lam**2 - 2 * lam * outputs)",
                "error / (1 + lam**2 - 2 * lam * outputs)",
            ),
            (
                "np.sqrt(1 + lam**2 - 2 * lam * errors)",
                "(1 + lam**2 - 2 * lam * errors)",
            ),
        ),
        slip(
            "sign of one mixed term",
            "The mixed term of one of the two norms has the wrong sign. "
            "Both are differences.",
            growth,
            ("- 2 * lam * errors", "+ 2 * lam * errors"),
            ("- 2 * lam * outputs", "+ 2 * lam * outputs"),
        ),
        slip(
            "lambda not squared in one",
            "In one of the two norms, the square of the second vector's "
            "length is not lam^2.",
            growth,
            ("1 + lam**2 - 2 * lam * outputs", "1 + lam - 2 * lam * outputs"),
            ("1 + lam**2 - 2 * lam * errors", "1 + lam - 2 * lam * errors"),
            (
                "1 + lam**2 - 2 * lam * outputs",
                "1 + lam * 2 - 2 * lam * outputs",
            ),
            (
                "1 + lam**2 - 2 * lam * errors",
                "1 + lam * 2 - 2 * lam * errors",
            ),
            (
                "1 + lam**2 - 2 * lam * outputs",
                "1 + lam**3 - 2 * lam * outputs",
            ),
            ("1 + lam**2 - 2 * lam * errors", "1 + lam**3 - 2 * lam * errors"),
            (
                "1 + lam**2 - 2 * lam * outputs",
                "1 + 2**lam - 2 * lam * outputs",
            ),
        ),
        slip(
            "a length left out",
            "One of the two norms lacks the square of a length: both "
            "vectors have one, and the second is lam times as long.",
            growth,
            ("1 + lam**2 - 2 * lam * outputs", "1 - 2 * lam * outputs"),
            ("1 + lam**2 - 2 * lam * errors", "1 - 2 * lam * errors"),
            ("1 + lam**2 - 2 * lam * errors", "lam**2 - 2 * lam * errors"),
            ("1 + lam**2 - 2 * lam * outputs", "lam**2 - 2 * lam * outputs"),
            ("1 + lam**2 - 2 * lam * errors", "1 - lam**2 - 2 * lam * errors"),
            (
                "1 + lam**2 - 2 * lam * outputs",
                "1 - lam**2 - 2 * lam * outputs",
            ),
        ),
        slip(
            "one mixed term",
            "One of your mixed terms is not 2 lam times the cosine: each "
            "norm has its own cosine, and the factor is 2 in both.",
            growth,
            ("- 2 * lam * outputs", "- lam * outputs"),
            ("- 2 * lam * errors", "- lam * errors"),
            ("- 2 * lam * outputs", "- 2 * lam"),
            ("- 2 * lam * errors", "- 2 * lam"),
            ("- 2 * lam * outputs", "- 2 * outputs"),
            ("- 2 * lam * errors", "- 2 * errors"),
            ("- 2 * lam * outputs", ""),
            ("- 2 * lam * outputs", "- outputs"),
            ("- 2 * lam * errors", "- errors"),
        ),
        slip(
            "multiplied",
            "You multiply the two norms. A relative error is divided by the "
            "output.",
            growth,
            ("error / np.sqrt", "error * np.sqrt"),
        ),
    ),
    hints=(
        "Set the norm of the outputs to 1 and that of the errors to a small "
        "number, which drops out. What is the norm of o1 - lam o2?",
        "|a - lam b|^2 = |a|^2 + lam^2 |b|^2 - 2 lam a.b, and a.b is the "
        "cosine if both norms are 1.",
        "sqrt(1 + lam**2 - 2 * lam * errors) over the same with outputs.",
    ),
)
