"""Exercise 14.4: a learning rate that rises and falls."""

from collections.abc import Callable
from math import cos, pi

import numpy as np

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.check.edited import slip


def rate(step: int, steps: int, warmup: int, peak: float) -> float:
    """Return the learning rate of a step, counted from 0.

    It rises in a straight line: step 0 has peak / warmup, and step
    warmup - 1 has peak. Then it falls in a straight line: step warmup has
    peak, and the last step, steps - 1, has a tenth of peak. warmup is less
    than steps - 1, and may be 0: then it only falls.
    """
    if step < warmup:
        return peak * (step + 1) / warmup
    done = (step - warmup) / (steps - 1 - warmup)
    return peak * (1 - 0.9 * done)


def _cases() -> list[Case]:
    return [
        Case(
            name=f"all steps of steps = {steps}, warmup = {warmup}, "
            f"peak = {peak}",
            args=(steps, warmup, peak),
        )
        for steps, warmup, peak in (
            (8, 1, 1.0),
            (10, 4, 1.0),
            (100, 10, 3e-3),
            (7, 0, 2.0),
        )
    ]


def _run(
    answer: Callable[..., float], steps: int, warmup: int, peak: float
) -> np.ndarray | None:
    rates = [answer(step, steps, warmup, peak) for step in range(steps)]
    return None if rates[0] is None else np.array(rates)


Rate = Callable[[int, int, int, float], float]


def _after(fall: Rate) -> Rate:
    """Rise rightly, then fall by another rule."""
    return lambda step, steps, warmup, peak: (rate if step < warmup else fall)(
        step, steps, warmup, peak
    )


def _done(step: int, steps: int, warmup: int) -> float:
    return (step - warmup) / (steps - 1 - warmup)


def _late_start(step: int, steps: int, warmup: int, peak: float) -> float:
    if step < warmup:
        return peak * step / warmup
    return rate(step, steps, warmup, peak)


def _zero_to_peak(step: int, steps: int, warmup: int, peak: float) -> float:
    if step < warmup:
        return peak * step / max(warmup - 1, 1)
    return rate(step, steps, warmup, peak)


def _slow_rise(step: int, steps: int, warmup: int, peak: float) -> float:
    if step < warmup:
        return peak * (step + 1) / (warmup + 1)
    return rate(step, steps, warmup, peak)


def _no_warmup(step: int, steps: int, warmup: int, peak: float) -> float:
    return peak * (1 - 0.9 * step / (steps - 1))


def _no_warmup_at_peak(
    step: int, steps: int, warmup: int, peak: float
) -> float:
    return rate(max(step, warmup), steps, warmup, peak)


def _one_more(step: int, steps: int, warmup: int, peak: float) -> float:
    if step <= warmup:
        return peak * (step + 1) / warmup
    return rate(step, steps, warmup, peak)


def _smaller_line(step: int, steps: int, warmup: int, peak: float) -> float:
    """Take the lower of the two lines, and compute both at every step."""
    rise = peak * (step + 1) / warmup
    return min(rise, peak * (1 - 0.9 * _done(step, steps, warmup)))


def _smaller_one_more(
    step: int, steps: int, warmup: int, peak: float
) -> float:
    """Guard against warmup = 0, with the same slip."""
    if warmup and step <= warmup:
        return peak * (step + 1) / warmup
    return rate(step, steps, warmup, peak)


def _one_step_early(step: int, steps: int, warmup: int, peak: float) -> float:
    if step < warmup:
        return rate(step, steps, warmup, peak)
    done = (step + 1 - warmup) / (steps - warmup)
    return peak * (1 - 0.9 * done)


EXERCISE = Exercise(
    id="14.4",
    cases=_cases,
    solution=rate,
    run=_run,
    mistakes=(
        Mistake(
            key="starts at zero",
            diagnosis="The first step has rate 0 and changes nothing. Steps "
            "are counted from 0, so the rise uses step + 1.",
            wrong=_late_start,
            also=(_zero_to_peak,),
        ),
        Mistake(
            key="no warm-up",
            diagnosis="There is no warm-up: the rate starts at its peak.",
            wrong=_no_warmup,
            also=(_no_warmup_at_peak,),
        ),
        Mistake(
            key="one step too long",
            diagnosis="Your rise has one step more, and at step warmup the "
            "rate is above peak. Write step < warmup, not <=.",
            wrong=_one_more,
            also=(_smaller_one_more,),
        ),
        Mistake(
            key="rise too slow",
            diagnosis="Your rise ends below peak, because you divide by "
            "warmup + 1. Step warmup - 1 has peak: (step + 1) / warmup.",
            wrong=_slow_rise,
        ),
        Mistake(
            key="divided by no warm-up",
            diagnosis="With warmup = 0 you divide by 0. Compute the rise "
            "only where step < warmup.",
            wrong=_smaller_line,
        ),
        Mistake(
            key="never arrives",
            diagnosis="The last step has more than a tenth of peak. From "
            "step warmup to step steps - 1 there are steps - 1 - warmup "
            "intervals, one fewer than steps.",
            wrong=_after(
                lambda step, steps, warmup, peak: (
                    peak * (1 - 0.9 * (step - warmup) / (steps - warmup))
                )
            ),
        ),
        Mistake(
            key="falls one step early",
            diagnosis="Step warmup is below peak already: the fall begins "
            "there, with (step - warmup) = 0.",
            wrong=_one_step_early,
        ),
        Mistake(
            key="falls to zero",
            diagnosis="The rate ends at 0. It should end at a tenth of peak.",
            wrong=_after(
                lambda step, steps, warmup, peak: (
                    peak * (1 - _done(step, steps, warmup))
                )
            ),
        ),
        Mistake(
            key="towards zero",
            diagnosis="Your line heads for 0, one step after the last one. It "
            "should end at a tenth of peak, at step steps - 1: it falls by "
            "0.9 of peak over steps - 1 - warmup intervals.",
            wrong=_after(
                lambda step, steps, warmup, peak: (
                    peak * (steps - step) / (steps - warmup)
                )
            ),
        ),
        Mistake(
            key="cut at a tenth",
            diagnosis="Your line falls towards 0 and max cuts it off at a "
            "tenth. The line itself should end at a tenth, at the last step: "
            "it falls by 0.9 of peak.",
            wrong=_after(
                lambda step, steps, warmup, peak: (
                    peak * max(0.1, 1 - _done(step, steps, warmup))
                )
            ),
            also=(
                _after(
                    lambda step, steps, warmup, peak: (
                        peak * max(0.1, 1 - (step - warmup) / (steps - warmup))
                    )
                ),
                _after(
                    lambda step, steps, warmup, peak: max(
                        0.1, peak * (1 - _done(step, steps, warmup))
                    )
                ),
            ),
        ),
        Mistake(
            key="falls by a tenth",
            diagnosis="The rate ends at nine tenths of peak. It falls by "
            "0.9, not by 0.1.",
            wrong=_after(
                lambda step, steps, warmup, peak: (
                    peak * (1 - 0.1 * _done(step, steps, warmup))
                )
            ),
        ),
        Mistake(
            key="never falls",
            diagnosis="After the warm-up the rate stays at its peak. It "
            "falls in a straight line to a tenth.",
            wrong=_after(lambda step, steps, warmup, peak: peak),
        ),
        Mistake(
            key="jump after the warm-up",
            diagnosis="The fall is counted from step 0, so the rate jumps "
            "down when the warm-up ends. Count from warmup.",
            wrong=_after(_no_warmup),
        ),
        Mistake(
            key="equal factors",
            diagnosis="You multiply by the same factor at every step of the "
            "fall. Here it is a straight line.",
            wrong=_after(
                lambda step, steps, warmup, peak: (
                    peak * 0.1 ** _done(step, steps, warmup)
                )
            ),
        ),
        Mistake(
            key="cosine",
            diagnosis="You fall along a cosine, which many trainings do. "
            "Here it is a straight line.",
            wrong=_after(
                lambda step, steps, warmup, peak: (
                    peak * (0.55 + 0.45 * cos(pi * _done(step, steps, warmup)))
                )
            ),
        ),
        slip(
            "peak left out",
            "Your rate does not depend on peak, while it rises or while it "
            "falls.",
            rate,
            ("peak * (step + 1)", "(step + 1)"),
            ("peak * (1", "(1"),
            ("peak * ", ""),
        ),
        slip(
            "rise not divided",
            "Your rate does not rise in warmup steps: step warmup - 1 "
            "should have peak.",
            rate,
            ("(step + 1) / warmup", "(step + 1)"),
            ("(step + 1) / warmup", "(step + 1) * warmup"),
            ("(step + 1) / warmup", "1 / warmup"),
            ("peak * (step + 1) / ", "peak * (step + 1) // "),
            ("peak * (step", "peak / (step"),
        ),
        slip(
            "rise off by one",
            "Your rise begins at another rate. Step 0 has peak / warmup.",
            rate,
            ("(step + 1)", "(step + 2)"),
            ("(step + 1)", "(step - 1)"),
        ),
        slip(
            "another length of the fall",
            "Your fall has another length. It begins at step warmup and "
            "ends at the last step, steps - 1.",
            rate,
            (
                "(step - warmup) / (steps - 1 - warmup)",
                "(step - warmup) / (steps - 1)",
            ),
            (
                "(step - warmup) / (steps - 1 - warmup)",
                "(step - warmup) / (steps - 2 - warmup)",
            ),
            (
                "(step - warmup) / (steps - 1 - warmup)",
                "(step - warmup) / (steps + 1 - warmup)",
            ),
            (
                "(step - warmup) / (steps - 1 - warmup)",
                "(step - warmup) / warmup",
            ),
            ("(step - warmup) / (steps - 1 - warmup)", "step - warmup"),
            (
                "(step - warmup) / (steps - 1 - warmup)",
                "(step - warmup) * (steps - 1 - warmup)",
            ),
            (
                "(step - warmup) / (steps - 1 - warmup)",
                "(step - warmup) // (steps - 1 - warmup)",
            ),
            (
                "(step - warmup) / (steps - 1 - warmup)",
                "step / (steps - 1 - warmup)",
            ),
            (
                "(step - warmup) / (steps - 1 - warmup)",
                "(step + warmup) / (steps - 1 - warmup)",
            ),
            (
                "(step - warmup) / (steps - 1 - warmup)",
                "(step - warmup) / (steps - 1 + warmup)",
            ),
        ),
        slip(
            "not from peak to a tenth",
            "After the warm-up your rate does not go down from peak to a "
            "tenth of it.",
            rate,
            ("(1 - 0.9 * done)", "(1 + 0.9 * done)"),
            ("(1 - 0.9 * done)", "(0.9 * done)"),
            ("(1 - 0.9 * done)", "(0.1 + 0.9 * done)"),
            ("peak * (1 - 0.9", "peak / (1 - 0.9"),
            ("peak * (1 - 0.9 * done)", "peak - 0.9 * done"),
            ("(1 - 0.9 * done)", "(1 - 0.9 - done)"),
            ("(1 - 0.9 * done)", "(1 - 0.9)"),
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
