"""Problem P5.2: ranks of runs, of which some never solve the task."""

from collections.abc import Callable

import numpy as np

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.check.edited import slip


def ranks(steps: np.ndarray) -> np.ndarray:
    """Return the rank of each run (n,): 1 for the run that solves it first.

    steps (n,): the steps that a run took until it solved the task, NaN if it
    never did. Runs that never did come last. Runs that are equal, as all of
    those are, share the mean of their ranks.
    """
    steps = np.where(np.isnan(steps), np.inf, steps)
    before = (steps < steps[:, None]).sum(1)
    equal = (steps == steps[:, None]).sum(1)
    return before + (equal + 1) / 2


def _cases() -> list[Case]:
    nan = np.nan
    return [
        Case(name=f"steps = {steps}", args=(np.array(steps, dtype=float),))
        for steps in (
            [750.0, 250.0, 500.0],
            [500.0, 250.0, 500.0, 1000.0],
            [nan, 250.0, 10_000.0, nan, 750.0, 10_000.0, nan],
            [nan, nan],
            [nan, 4e12, 250.0, nan, 30_000.0],
        )
    ]


Ranks = Callable[[np.ndarray], np.ndarray]


def _with_unsolved(value: float | None) -> Ranks:
    """Rank rightly, with another number for the runs that never solve."""

    def answer(steps: np.ndarray) -> np.ndarray:
        highest = np.nan_to_num(steps).max() if value is None else value
        return ranks(np.where(np.isnan(steps), highest, steps))

    return answer


def _parts(steps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    steps = np.where(np.isnan(steps), np.inf, steps)
    before = (steps < steps[:, None]).sum(1)
    return before, (steps == steps[:, None]).sum(1)


def _in_order(steps: np.ndarray) -> np.ndarray:
    return steps.argsort(kind="stable").argsort() + 1.0


def _dense(steps: np.ndarray) -> np.ndarray:
    filled = np.where(np.isnan(steps), np.inf, steps)
    return np.searchsorted(np.unique(filled), filled) + 1.0


def _nan_compared(steps: np.ndarray) -> np.ndarray:
    before = (steps < steps[:, None]).sum(1)
    return before + ((steps == steps[:, None]).sum(1) + 1) / 2


def _dropped(steps: np.ndarray) -> np.ndarray:
    return np.where(np.isnan(steps), np.nan, ranks(steps))


def _late_first(steps: np.ndarray) -> np.ndarray:
    return len(steps) + 1 - ranks(steps)


EXERCISE = Exercise(
    id="P5.2",
    cases=_cases,
    solution=ranks,
    mistakes=(
        Mistake(
            key="ties in order",
            diagnosis="Equal runs get different ranks, by their place in the "
            "list. They share the mean of those ranks.",
            wrong=_in_order,
        ),
        Mistake(
            key="argsort once",
            diagnosis="np.argsort gives the run at each rank. You need the "
            "rank of each run.",
            wrong=lambda steps: steps.argsort(kind="stable") + 1.0,
        ),
        Mistake(
            key="lowest rank",
            diagnosis="Equal runs all get the lowest of their ranks. They "
            "share the mean: two runs at 2 and 3 get 2.5.",
            wrong=lambda steps: _parts(steps)[0] + 1.0,
        ),
        Mistake(
            key="highest rank",
            diagnosis="Equal runs all get the highest of their ranks. They "
            "share the mean: two runs at 2 and 3 get 2.5.",
            wrong=lambda steps: 1.0 * sum(_parts(steps)),
        ),
        Mistake(
            key="no gaps",
            diagnosis="After two equal runs you go on with the next number. "
            "They use up two ranks: after 1, 2.5, 2.5 comes 4.",
            wrong=_dense,
        ),
        Mistake(
            key="from 0",
            diagnosis="Your ranks begin at 0. The first run has rank 1.",
            wrong=lambda steps: ranks(steps) - 1,
        ),
        Mistake(
            key="NaN compared",
            diagnosis="NaN is neither less than nor equal to anything, so "
            "runs that never solve it come out as the first. Replace NaN.",
            wrong=_nan_compared,
        ),
        Mistake(
            key="unsolved first",
            diagnosis="Runs that never solve it have rank 1. They come last.",
            wrong=_with_unsolved(-1.0),
        ),
        Mistake(
            key="unsolved at the last step",
            diagnosis="You treat a run that never solves it as equal to the "
            "slowest that does. It comes after that one.",
            wrong=_with_unsolved(None),
        ),
        Mistake(
            key="a number for never",
            diagnosis="You rank runs that never solve it by some large "
            "number, and a run can take longer than that. Only np.inf is "
            "larger than any number of steps.",
            wrong=_with_unsolved(10_001.0),
        ),
        Mistake(
            key="unsolved all last",
            diagnosis="Runs that never solve it all get rank n. As equal "
            "runs they share the mean of the last ranks.",
            wrong=lambda steps: np.where(
                np.isnan(steps), len(steps), ranks(steps)
            ),
        ),
        Mistake(
            key="unsolved dropped",
            diagnosis="Runs that never solve it have no rank. To leave them "
            "out favours a kind that solves it rarely and then fast.",
            wrong=_dropped,
        ),
        Mistake(
            key="late first",
            diagnosis="Rank 1 is the last run. It should be the first.",
            wrong=_late_first,
        ),
        slip(
            "rounded ranks",
            "The mean of two ranks may end in one half. You round it.",
            ranks,
            ("(equal + 1) / 2", "(equal + 1) // 2"),
            ("before + (equal + 1) / 2", "np.ceil(before + (equal + 1) / 2)"),
        ),
        slip(
            "equal ones twice",
            "You count equal runs among those before, and again in the "
            "mean. Before a run are those that are strictly sooner.",
            ranks,
            ("steps < steps", "steps <= steps"),
        ),
        slip(
            "half a rank off",
            "The mean of a run's possible ranks is another number. The "
            "first of them is one more than the number of runs before.",
            ranks,
            ("(equal + 1) / 2", "equal / 2"),
            ("(equal + 1) / 2", "(equal + 2) / 2"),
            ("(equal + 1) / 2", "(equal + 1)"),
        ),
    ),
    hints=(
        "Which number is larger than any number of steps?",
        "With np.inf for NaN: a run's rank depends on how many are less than "
        "it, and how many are equal to it, itself among them.",
        "before = (steps < steps[:, None]).sum(1), equal likewise with ==; "
        "before + (equal + 1) / 2.",
    ),
)
