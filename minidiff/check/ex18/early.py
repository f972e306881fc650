"""Exercise 18.3: what one would have concluded at each moment."""

import numpy as np

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.check.edited import slip


def conclusions(first: np.ndarray, second: np.ndarray, t: float) -> np.ndarray:
    """Return the conclusion at each of P moments, integers (P,).

    first, second (n, P): losses of n paired runs at P moments. At each
    moment: -1 if the 95 % interval of first - second lies below 0, 1 if it
    lies above 0, and 0 if it contains 0. t is Student's factor for n values.
    """
    d = first - second
    mean = d.mean(0)
    half = t * d.std(0, ddof=1) / np.sqrt(len(d))
    return np.where(abs(mean) > half, np.sign(mean), 0).astype(int)


def _cases() -> list[Case]:
    # Each moment's mean is this many half-widths from 0, on either side.
    far = np.array([2.5, 1.3, 1.1, 1.05, 0.95, 0.9, 0.28, 0.2])
    far = np.append(far, -far)
    cases = []
    for n, P, t in ((4, 16, 3.182), (8, 16, 2.365), (20, 16, 2.093)):
        rng = np.random.default_rng(n)
        falling = np.linspace(4, 2, P) + 0.3 * rng.normal(size=(n, 1))
        gap = rng.normal(size=(n, P))
        gap = (gap - gap.mean(0)) / gap.std(0, ddof=1)
        gap = 0.1 * (gap + far * t / np.sqrt(n))
        cases.append(
            Case(
                name=f"{n} seeds, {P} moments",
                args=(falling + gap, falling, t),
            )
        )
    return cases


def _each(
    first: np.ndarray, second: np.ndarray, half: np.ndarray
) -> np.ndarray:
    mean = first.mean(0) - second.mean(0)
    return np.where(abs(mean) > half, np.sign(mean), 0).astype(int)


def _half(d: np.ndarray, t: float, n: float) -> np.ndarray:
    half: np.ndarray = t * d.std(0, ddof=1) / n
    return half


def _over_moments(
    first: np.ndarray, second: np.ndarray, t: float
) -> np.ndarray:
    return conclusions(first.T, second.T, t)


EXERCISE = Exercise(
    id="18.3",
    cases=_cases,
    solution=conclusions,
    mistakes=(
        Mistake(
            key="sign of the mean",
            diagnosis="You always conclude something. Where the interval "
            "contains 0, the answer is 0.",
            wrong=lambda a, b, t: _each(a, b, np.zeros(a.shape[1])),
        ),
        Mistake(
            key="signs exchanged",
            diagnosis="Your signs are exchanged: -1 means that the loss of "
            "first is lower.",
            wrong=lambda a, b, t: conclusions(b, a, t),
        ),
        Mistake(
            key="interval of one run",
            diagnosis="Your interval is too wide: it is that of a single "
            "pair. For the mean of n, divide by sqrt(n).",
            wrong=lambda a, b, t: _each(a, b, _half(a - b, t, 1)),
        ),
        Mistake(
            key="pairs ignored",
            diagnosis="You treat the runs as not paired. Take the "
            "differences of each seed first.",
            wrong=lambda a, b, t: _each(
                a,
                b,
                t * np.sqrt((a.var(0, ddof=1) + b.var(0, ddof=1)) / len(a)),
            ),
        ),
        Mistake(
            key="divides by n",
            diagnosis="Your standard deviation divides by n, numpy's default. "
            "It must divide by n - 1: ddof=1.",
            wrong=lambda a, b, t: _each(
                a, b, t * (a - b).std(0) / np.sqrt(len(a))
            ),
        ),
        Mistake(
            key="root of n - 1",
            diagnosis="You divide by sqrt(n - 1). The n - 1 belongs in the "
            "standard deviation; the mean of n values scatters less by "
            "sqrt(n).",
            wrong=lambda a, b, t: _each(
                a, b, _half(a - b, t, np.sqrt(len(a) - 1))
            ),
        ),
        Mistake(
            key="t forgotten",
            diagnosis="Your interval is too narrow: it is one standard error. "
            "Multiply it by t.",
            wrong=lambda a, b, t: _each(
                a, b, _half(a - b, 1, np.sqrt(len(a)))
            ),
        ),
        Mistake(
            key="all numbers counted",
            diagnosis="Your interval is too narrow: you divide by the root of "
            "all n P numbers. At each moment there are only n, one for each "
            "seed: len(d).",
            wrong=lambda a, b, t: _each(
                a, b, _half(a - b, t, np.sqrt(a.size))
            ),
        ),
        Mistake(
            key="axis of the moments",
            diagnosis="You average over the moments and get a conclusion for "
            "each seed. Axis 0 holds the seeds: average over it.",
            wrong=_over_moments,
            also=(
                lambda a, b, t: _each(
                    a.T, b.T, _half((a - b).T, t, np.sqrt(len(a)))
                ),
            ),
        ),
        Mistake(
            key="floats",
            diagnosis="The conclusions are right, but they are not an array "
            "of integers: use .astype(int).",
            wrong=lambda a, b, t: conclusions(a, b, t).astype(float),
        ),
        Mistake(
            key="one interval for all",
            diagnosis="You take one standard deviation of all numbers. Give "
            "the axis of the seeds: each moment has its own mean and spread.",
            wrong=lambda a, b, t: _each(
                a,
                b,
                np.full(a.shape[1], t * (a - b).std(ddof=1) / np.sqrt(len(a))),
            ),
        ),
        slip(
            "no differences",
            "Your values are not the differences of the pairs.",
            conclusions,
            ("first - second", "first"),
            ("first - second", "second"),
            ("first - second", "first + second"),
        ),
        slip(
            "sum for mean",
            "You compare a sum of differences with the half-width. Their "
            "mean belongs to it.",
            conclusions,
            ("d.mean(0)", "d.sum(0)"),
        ),
        slip(
            "the wrong way round",
            "You conclude something where the interval contains 0, and "
            "nothing where it does not.",
            conclusions,
            ("abs(mean) > half", "abs(mean) < half"),
            ("np.sign(mean), 0)", "0, np.sign(mean))"),
        ),
        slip(
            "one side",
            "You never conclude -1: an interval below 0 excludes 0 as well.",
            conclusions,
            ("abs(mean) > half", "mean > half"),
        ),
    ),
    hints=(
        "It is exercise 18.1 at each moment: which axis holds the seeds?",
        "mean = d.mean(0) and half = t * d.std(0, ddof=1) / sqrt(n), both "
        "(P,). The interval excludes 0 where abs(mean) > half.",
        "np.where(abs(mean) > half, np.sign(mean), 0).astype(int).",
    ),
)
