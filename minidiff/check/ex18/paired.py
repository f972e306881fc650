"""Exercise 18.1: a mean difference between paired runs, and its interval."""

import numpy as np

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.check.edited import slip


def paired_interval(
    first: np.ndarray, second: np.ndarray, t: float
) -> tuple[float, float]:
    """Return the mean of first - second, and the half-width of its interval.

    first, second (n,): the results of two kinds; entry i of both comes from
    seed i. The half-width is t times the standard error of the mean
    difference: the standard deviation of the n differences (n - 1 in its
    denominator) over the root of n. t is Student's factor for n values.
    """
    d = first - second
    return d.mean(), t * d.std(ddof=1) / np.sqrt(len(d))


def _cases() -> list[Case]:
    cases = []
    for n, t in ((4, 3.182), (8, 2.365), (5, 2.776)):
        rng = np.random.default_rng(n)
        seeds = rng.normal(size=n)  # what both kinds have in common
        pair = (2 + seeds + 0.3 * rng.normal(size=n) for _ in range(2))
        cases.append(Case(name=f"{n} pairs of runs", args=(*pair, t)))
    return cases


def _spread(
    d: np.ndarray, t: float, ddof: int, n: float
) -> tuple[float, float]:
    return d.mean(), t * d.std(ddof=ddof) / n


EXERCISE = Exercise(
    id="18.1",
    cases=_cases,
    solution=paired_interval,
    mistakes=(
        Mistake(
            key="pairs ignored",
            diagnosis="You add the variances of both kinds, as if the runs "
            "were not paired. Take the differences first; what both runs of "
            "a seed have in common then cancels.",
            wrong=lambda a, b, t: (
                a.mean() - b.mean(),
                t * np.sqrt((a.var(ddof=1) + b.var(ddof=1)) / len(a)),
            ),
        ),
        Mistake(
            key="divides by n",
            diagnosis="Your standard deviation divides by n. Around a mean "
            "taken from the same values it must divide by n - 1: ddof=1.",
            wrong=lambda a, b, t: _spread(a - b, t, 0, np.sqrt(len(a))),
        ),
        Mistake(
            key="root of n - 1",
            diagnosis="You divide by sqrt(n - 1). The n - 1 belongs in the "
            "standard deviation; the mean of n values scatters less by "
            "sqrt(n).",
            wrong=lambda a, b, t: _spread(a - b, t, 1, np.sqrt(len(a) - 1)),
        ),
        Mistake(
            key="spread of one run",
            diagnosis="That is the interval for one more pair. For the mean "
            "of n pairs, divide by sqrt(n).",
            wrong=lambda a, b, t: _spread(a - b, t, 1, 1),
        ),
        Mistake(
            key="divided by n",
            diagnosis="You divide the standard deviation by n. The standard "
            "error divides by the root of n.",
            wrong=lambda a, b, t: _spread(a - b, t, 1, len(a)),
        ),
        Mistake(
            key="full width",
            diagnosis="That is the full width of the interval. Return half "
            "of it, what stands after the +-.",
            wrong=lambda a, b, t: _spread(2 * (a - b), t, 1, np.sqrt(len(a))),
            also=(
                lambda a, b, t: (
                    (a - b).mean(),
                    2 * paired_interval(a, b, t)[1],
                ),
            ),
        ),
        Mistake(
            key="low and high",
            diagnosis="Those are the two ends of the interval. Return the "
            "mean and the half-width.",
            wrong=lambda a, b, t: (
                (a - b).mean() - paired_interval(a, b, t)[1],
                (a - b).mean() + paired_interval(a, b, t)[1],
            ),
        ),
        Mistake(
            key="t forgotten",
            diagnosis="That is the standard error. Multiply it by t.",
            wrong=lambda a, b, t: _spread(a - b, 1, 1, np.sqrt(len(a))),
        ),
        Mistake(
            key="variance",
            diagnosis="You use the variance of the differences. The standard "
            "deviation is its root.",
            wrong=lambda a, b, t: (
                (a - b).mean(),
                t * (a - b).var(ddof=1) / np.sqrt(len(a)),
            ),
        ),
        Mistake(
            key="absolute differences",
            diagnosis="You drop the signs of the differences. A pair that "
            "goes the other way must count against the rest.",
            wrong=lambda a, b, t: _spread(abs(a - b), t, 1, np.sqrt(len(a))),
        ),
        Mistake(
            key="second minus first",
            diagnosis="The sign is reversed: subtract second from first.",
            wrong=lambda a, b, t: paired_interval(b, a, t),
        ),
        slip(
            "no differences",
            "Your values are not the differences of the pairs.",
            paired_interval,
            ("first - second", "first"),
            ("first - second", "second"),
            ("first - second", "first + second"),
        ),
        slip(
            "sum for mean",
            "Your first result is a sum. Divide by the number of pairs.",
            paired_interval,
            ("d.mean(),", "d.sum(),"),
        ),
        slip(
            "grows with n",
            "Your interval becomes wider with more pairs. The mean of n "
            "values scatters less by the root of n: divide.",
            paired_interval,
            ("/ np.sqrt(len(d))", "* np.sqrt(len(d))"),
        ),
        slip(
            "spread left out",
            "Your half-width does not depend on how much the differences "
            "scatter.",
            paired_interval,
            ("t * d.std(ddof=1)", "t"),
            ("t * d.std(ddof=1)", "t / d.std(ddof=1)"),
            ("t * d.std(ddof=1)", "(t + d.std(ddof=1))"),
        ),
    ),
    hints=(
        "Make one number of each pair first. How far do these scatter, and "
        "how far does the mean of n of them?",
        "d = first - second; d.std(ddof=1) is the scatter of one difference, "
        "and a mean of n scatters less by the root of n.",
        "d.mean(), t * d.std(ddof=1) / np.sqrt(len(d)).",
    ),
)
