"""Exercise for chapter 18: the mean of a few runs and how sure it is."""

import numpy as np

from minidiff.check.core import Case, Exercise, Mistake


def mean_and_interval(values: np.ndarray) -> tuple[float, float]:
    """Return the mean and the half-width of its 95 % interval.

    values: one number from each of exactly five independent runs. The half-
    width is 2.776 (Student's t for five values) times the standard error,
    s / sqrt(5), where s divides by n - 1.
    """
    error = values.std(ddof=1) / np.sqrt(5)
    return values.mean(), 2.776 * error


def _cases() -> list[Case]:
    return [
        Case(
            name=f"five values around {centre}",
            args=(centre + np.random.default_rng(seed).normal(size=5),),
        )
        for seed, centre in enumerate((0.0, 2.0, -7.0))
    ]


EXERCISE = Exercise(
    id="18.2",
    cases=_cases,
    solution=mean_and_interval,
    mistakes=(
        Mistake(
            key="divides by n",
            diagnosis="Your s divides by n. Around a mean taken from the "
            "same five values it must divide by n - 1: ddof=1.",
            wrong=lambda v: (v.mean(), 2.776 * v.std() / np.sqrt(5)),
        ),
        Mistake(
            key="spread of one run",
            diagnosis="That is the interval for one more run. For the mean "
            "of five, divide by sqrt(5).",
            wrong=lambda v: (v.mean(), 2.776 * v.std(ddof=1)),
        ),
        Mistake(
            key="divided by five",
            diagnosis="You divide s by 5. The standard error divides by the "
            "root of 5.",
            wrong=lambda v: (v.mean(), 2.776 * v.std(ddof=1) / 5),
        ),
        Mistake(
            key="normal instead of t",
            diagnosis="1.96 is for many runs. Five runs know their own "
            "spread badly, and Student's t, 2.776, makes up for it.",
            wrong=lambda v: (v.mean(), 1.96 * v.std(ddof=1) / np.sqrt(5)),
        ),
        Mistake(
            key="full width",
            diagnosis="That is the whole width of the interval, from end to "
            "end. Return half of it, the distance from the mean.",
            wrong=lambda v: (
                v.mean(),
                2 * 2.776 * v.std(ddof=1) / np.sqrt(5),
            ),
        ),
        Mistake(
            key="two ends",
            diagnosis="You return the two ends of the interval. Return the "
            "mean and the distance from it to either end.",
            wrong=lambda v: (
                v.mean() - 2.776 * v.std(ddof=1) / np.sqrt(5),
                v.mean() + 2.776 * v.std(ddof=1) / np.sqrt(5),
            ),
        ),
        Mistake(
            key="root of n - 1",
            diagnosis="You divide by the root of n - 1. The n - 1 belongs "
            "into s; the standard error is s over the root of n.",
            wrong=lambda v: (v.mean(), 2.776 * v.std(ddof=1) / np.sqrt(4)),
        ),
    ),
    hints=(
        "Two steps: how far do single runs scatter, and how far the mean of "
        "five of them?",
        "values.std(ddof=1) is s. The mean of five scatters less by sqrt(5).",
        "values.mean(), 2.776 * values.std(ddof=1) / np.sqrt(5).",
    ),
)
