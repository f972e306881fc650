"""Exercise for chapter 18: how many seeds show a gap."""

from collections.abc import Callable
from math import ceil

import numpy as np

from minidiff.check.core import Case, Exercise, Mistake


def seeds_needed(a: np.ndarray, b: np.ndarray, gap: float) -> int:
    """Return the least n for which 2 sigma / sqrt(n) is at most gap.

    a, b (K,): losses of a first trial of two ways to train, a[i] and b[i]
    with the same seed. sigma: the standard deviation of their differences,
    dividing by K - 1.
    """
    sigma = (a - b).std(ddof=1)
    return int(np.ceil((2 * sigma / gap) ** 2))


def _cases() -> list[Case]:
    cases = []
    for K, noise, gap in ((5, 0.3, 0.1), (3, 1.0, 0.25), (8, 0.05, 0.01)):
        rng = np.random.default_rng(K)
        shared = rng.normal(size=K)  # what a seed does to both
        a = 3 + shared + noise * rng.normal(size=K)
        b = 3.1 + 0.8 * shared + noise * rng.normal(size=K)
        cases.append(Case(name=f"{K} seeds, gap = {gap}", args=(a, b, gap)))
    # Differences of 0, 1, 2, so sigma is 1: sixteen seeds without rounding.
    a, b = np.array([3.5, 4.25, 5.75]), np.array([3.5, 3.25, 3.75])
    name = "3 seeds, sigma = 1, gap = 0.5"
    return [*cases, Case(name=name, args=(a, b, 0.5))]


def _by(
    sigma: Callable[[np.ndarray, np.ndarray], float],
) -> Callable[[np.ndarray, np.ndarray, float], int]:
    return lambda a, b, gap: ceil((2 * sigma(a, b) / gap) ** 2)


def _sigma(a: np.ndarray, b: np.ndarray) -> float:
    return (a - b).std(ddof=1)


EXERCISE = Exercise(
    id="18.1",
    cases=_cases,
    solution=seeds_needed,
    mistakes=(
        Mistake(
            key="not paired",
            diagnosis="You add up the spread of both, as if their seeds had "
            "nothing in common. Take differences seed by seed first.",
            wrong=_by(lambda a, b: np.sqrt(a.var(ddof=1) + b.var(ddof=1))),
            also=(_by(lambda a, b: a.std(ddof=1) + b.std(ddof=1)),),
        ),
        Mistake(
            key="one side",
            diagnosis="You take the spread of one way to train. What must be "
            "known well is the difference.",
            wrong=_by(lambda a, b: a.std(ddof=1)),
            also=(_by(lambda a, b: b.std(ddof=1)),),
        ),
        Mistake(
            key="difference of spreads",
            diagnosis="You take the difference of two spreads. Take the "
            "spread of the differences.",
            wrong=_by(lambda a, b: a.std(ddof=1) - b.std(ddof=1)),
        ),
        Mistake(
            key="divides by K",
            diagnosis="Your sigma divides by K. Around a mean taken from the "
            "same values it must divide by K - 1: ddof=1.",
            wrong=_by(lambda a, b: (a - b).std()),
        ),
        Mistake(
            key="variance",
            diagnosis="You take the variance. sigma is its root.",
            wrong=_by(lambda a, b: (a - b).var(ddof=1)),
        ),
        Mistake(
            key="not squared",
            diagnosis="n stands under a root, so solving for it squares: "
            "half the gap takes four times the seeds.",
            wrong=lambda a, b, gap: ceil(2 * _sigma(a, b) / gap),
        ),
        Mistake(
            key="factor 2",
            diagnosis="The 2 is missing: two sigmas, not one.",
            wrong=lambda a, b, gap: ceil((_sigma(a, b) / gap) ** 2),
        ),
        Mistake(
            key="2 not squared",
            diagnosis="You square sigma / gap and not the 2.",
            wrong=lambda a, b, gap: ceil(2 * (_sigma(a, b) / gap) ** 2),
        ),
        Mistake(
            key="rounded down",
            diagnosis="You round down or to the nearest. That is a seed too "
            "few: round up.",
            wrong=lambda a, b, gap: int((2 * _sigma(a, b) / gap) ** 2),
            also=(lambda a, b, gap: round((2 * _sigma(a, b) / gap) ** 2),),
        ),
        Mistake(
            key="one too many",
            diagnosis="You round down and add 1. Where n comes out whole that "
            "is a seed too many: round up.",
            wrong=lambda a, b, gap: int((2 * _sigma(a, b) / gap) ** 2) + 1,
        ),
        Mistake(
            key="1.96",
            diagnosis="You take 1.96, the exact number for a normal "
            "distribution. Here it is rounded to 2.",
            wrong=lambda a, b, gap: ceil((1.96 * _sigma(a, b) / gap) ** 2),
        ),
        Mistake(
            key="not whole",
            diagnosis="There are no parts of a seed. Round up.",
            wrong=lambda a, b, gap: (2 * _sigma(a, b) / gap) ** 2,
        ),
        Mistake(
            key="gap of the trial",
            diagnosis="You use the gap that the trial found. Use the gap you "
            "want to be able to see.",
            wrong=lambda a, b, gap: ceil(
                (2 * _sigma(a, b) / (a - b).mean()) ** 2
            ),
        ),
    ),
    hints=(
        "Write 2 sigma / sqrt(n) = gap, and solve for n.",
        "n = (2 sigma / gap)**2, rounded up. sigma comes from a - b.",
        "int(np.ceil((2 * (a - b).std(ddof=1) / gap) ** 2)).",
    ),
)
