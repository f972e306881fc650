"""Exercise 15.2: a learning rate that rises and falls."""

from collections.abc import Callable

import numpy as np

from minidiff.check.core import Case, Exercise, Mistake


def rate(step: int, steps: int, warmup: int, peak: float) -> float:
    """Return the learning rate of a step, counted from 0.

    Rises linearly to peak: peak / warmup at step 0, peak at step
    warmup - 1. Then falls linearly: peak at step warmup, and a tenth of peak
    at the last step, steps - 1.
    """
    if step < warmup:
        return peak * (step + 1) / warmup
    done = (step - warmup) / (steps - 1 - warmup)
    return peak * (1 - 0.9 * done)


def _cases() -> list[Case]:
    return [
        Case(
            name=f"steps = {steps}, warmup = {warmup}, peak = {peak}",
            args=(steps, warmup, peak),
        )
        for steps, warmup, peak in ((10, 4, 1.0), (100, 10, 3e-3), (8, 1, 2.0))
    ]


def _run(
    answer: Callable[..., float], steps: int, warmup: int, peak: float
) -> np.ndarray | None:
    rates = [answer(step, steps, warmup, peak) for step in range(steps)]
    return None if rates[0] is None else np.array(rates)


def _late_start(step: int, steps: int, warmup: int, peak: float) -> float:
    if step < warmup:
        return peak * step / warmup
    return rate(step, steps, warmup, peak)


def _no_warmup(step: int, steps: int, warmup: int, peak: float) -> float:
    return peak * (1 - 0.9 * step / (steps - 1))


def _to_zero(step: int, steps: int, warmup: int, peak: float) -> float:
    if step < warmup:
        return rate(step, steps, warmup, peak)
    return peak * (1 - (step - warmup) / (steps - 1 - warmup))


def _never_falls(step: int, steps: int, warmup: int, peak: float) -> float:
    return peak * min(1.0, (step + 1) / warmup)


def _jump(step: int, steps: int, warmup: int, peak: float) -> float:
    if step < warmup:
        return rate(step, steps, warmup, peak)
    return peak * (1 - 0.9 * step / (steps - 1))


EXERCISE = Exercise(
    id="15.2",
    cases=_cases,
    solution=rate,
    run=_run,
    mistakes=(
        Mistake(
            key="starts at zero",
            diagnosis="The first step has rate 0 and is wasted. Steps count "
            "from 0, so the warm-up uses step + 1.",
            wrong=_late_start,
        ),
        Mistake(
            key="no warm-up",
            diagnosis="There is no warm-up: the rate starts at its peak.",
            wrong=_no_warmup,
        ),
        Mistake(
            key="falls to zero",
            diagnosis="The rate ends at 0. It should end at a tenth of peak.",
            wrong=_to_zero,
        ),
        Mistake(
            key="never falls",
            diagnosis="After the warm-up the rate stays at its peak. It "
            "falls linearly to a tenth.",
            wrong=_never_falls,
        ),
        Mistake(
            key="jump after the warm-up",
            diagnosis="The fall is counted from step 0, so the rate jumps "
            "down when the warm-up ends. Count from warmup.",
            wrong=_jump,
        ),
    ),
    hints=(
        "Two straight lines. Write down the step and the rate at both ends "
        "of each.",
        "In the fall, (step - warmup) / (steps - 1 - warmup) runs from 0 to "
        "1.",
        "peak * (step + 1) / warmup before warmup; after it "
        "peak * (1 - 0.9 * (step - warmup) / (steps - 1 - warmup)).",
    ),
)
