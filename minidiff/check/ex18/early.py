"""Exercise 18.4: what one would have concluded at each moment."""

import numpy as np

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.check.ex18.paired import paired_interval


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
    cases = []
    for n, P, t in ((4, 9, 3.182), (8, 12, 2.365)):
        rng = np.random.default_rng(P)
        falling = np.linspace(4, 2, P) + 0.3 * rng.normal(size=(n, 1))
        # The difference changes its sign once, and its spread is not small.
        gap = np.linspace(0.4, -0.4, P) + 0.15 * rng.normal(size=(n, P))
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


EXERCISE = Exercise(
    id="18.4",
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
            key="one interval for all",
            diagnosis="You use one interval for all moments. Compute mean "
            "and interval at each moment, over axis 0.",
            wrong=lambda a, b, t: _each(
                a,
                b,
                np.full(
                    a.shape[1], paired_interval(a.mean(1), b.mean(1), t)[1]
                ),
            ),
        ),
    ),
    hints=(
        "It is exercise 18.2 at each moment: which axis holds the seeds?",
        "mean = d.mean(0) and half = t * d.std(0, ddof=1) / sqrt(n), both "
        "(P,). The interval excludes 0 where abs(mean) > half.",
        "np.where(abs(mean) > half, np.sign(mean), 0).astype(int).",
    ),
)
