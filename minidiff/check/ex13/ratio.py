"""Exercise 13.3: a ratio, and how far to trust it."""

from collections.abc import Callable
from statistics import fmean, median

import numpy as np

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.check.edited import slip

Times = list[float]
Three = tuple[float, float, float]


def ratio_interval(
    ours: list[float], theirs: list[float], drop: int
) -> tuple[float, float, float]:
    """Return (low, middle, high) for how much longer ours takes than theirs.

    ours[i] and theirs[i] are the times of round i, taken one right after the
    other, so each round has its own ratio. The middle is the median of
    these; low and high are the least and the largest of those left when the
    `drop` least and the `drop` largest are dropped. 2 drop < rounds.
    """
    ratios = sorted(a / b for a, b in zip(ours, theirs, strict=True))
    kept = ratios[drop : len(ratios) - drop]
    return kept[0], float(np.median(ratios)), kept[-1]


def _ratios(ours: Times, theirs: Times) -> Times:
    return [a / b for a, b in zip(ours, theirs, strict=True)]


def _with(
    pair: Callable[[Times, Times], Times] = _ratios,
    order: Callable[[Times], Times] = sorted,
    middle: Callable[[Times], float] = median,
    below: bool = True,
    above: bool = True,
) -> Callable[[Times, Times, int], Three]:
    """An answer whose steps may be wrong."""

    def answer(ours: Times, theirs: Times, drop: int) -> Three:
        x = order(pair(ours, theirs))
        low = x[drop if below else 0]
        high = x[len(x) - 1 - (drop if above else 0)]
        return low, middle(x), high

    return answer


def _cut(
    order: Callable[[Times], Times] = sorted,
    left: int = 1,
    right: int = 1,
    middle: Callable[[Times], float] = median,
    ends: bool = False,
) -> Callable[[Times, Times, int], Three]:
    """An answer that cuts first, and takes the middle of what is left."""

    def answer(ours: Times, theirs: Times, drop: int) -> Three:
        x = order(_ratios(ours, theirs))
        x = x[left * drop : len(x) - right * drop]
        low, high = (min(x), max(x)) if ends else (x[0], x[-1])
        return low, middle(x), high

    return answer


def _sliced(ends: bool) -> Callable[[Times, Times, int], Three]:
    """An answer that cuts by [drop:-drop]."""

    def answer(ours: Times, theirs: Times, drop: int) -> Three:
        x = sorted(_ratios(ours, theirs))
        kept = x[drop:-drop]
        low, high = (min(kept), max(kept)) if ends else (kept[0], kept[-1])
        return low, median(x), high

    return answer


def _at(
    low: Callable[[int, int], int], high: Callable[[int, int], int]
) -> Callable[[Times, Times, int], Three]:
    """An answer that takes its ends at these places, of (length, drop)."""

    def answer(ours: Times, theirs: Times, drop: int) -> Three:
        x = sorted(_ratios(ours, theirs))
        return x[low(len(x), drop)], median(x), x[high(len(x), drop)]

    return answer


def _unpaired(ours: Times, theirs: Times) -> Times:
    return _ratios(sorted(ours), sorted(theirs))


def _of_medians(ours: Times, theirs: Times, drop: int) -> Three:
    low, _, high = ratio_interval(ours, theirs, drop)
    return low, median(ours) / median(theirs), high


def _middle_one(x: Times) -> float:
    return sorted(x)[len(x) // 2]


EXERCISE = Exercise(
    id="13.3",
    cases=lambda: [
        Case(name=name, args=(ours, theirs, drop))
        for name, ours, theirs, drop in (
            (
                "five rounds, the third disturbed, drop = 1",
                [1.2, 1.5, 7.0, 2.6, 1.1],
                [1.0, 1.3, 2.0, 2.0, 1.2],
                1,
            ),
            (
                "four rounds, drop = 0",
                [3.0, 2.0, 4.5, 9.0],
                [2.0, 1.0, 3.1, 7.0],
                0,
            ),
            (
                "eight rounds, slower and slower, drop = 2",
                [1.0, 1.4, 1.5, 2.0, 1.9, 2.7, 2.6, 3.4],
                [1.1, 1.3, 1.7, 1.6, 2.2, 2.0, 3.0, 2.8],
                2,
            ),
        )
    ],
    solution=ratio_interval,
    mistakes=(
        Mistake(
            key="unpaired",
            diagnosis="You sort the times before you divide. Then a slow "
            "round of one meets a fast round of the other. Divide round by "
            "round, then sort the ratios.",
            wrong=_with(pair=_unpaired),
        ),
        Mistake(
            key="ratio of medians",
            diagnosis="Your middle is the ratio of two medians, which may "
            "come from different rounds. Take the median of the ratios.",
            wrong=_of_medians,
        ),
        Mistake(
            key="mean",
            diagnosis="Your middle is a mean. One disturbed round moves it "
            "as far as it likes; take the median.",
            wrong=_with(middle=fmean),
            also=(_cut(middle=fmean),),
        ),
        Mistake(
            key="middle of an even number",
            diagnosis="With an even number of rounds the median is half way "
            "between the two in the middle.",
            wrong=_with(middle=_middle_one),
            also=(_with(middle=lambda x: sorted(x)[(len(x) - 1) // 2]),),
        ),
        Mistake(
            key="upside down",
            diagnosis="You divide theirs by ours. How much longer ours takes "
            "is ours over theirs.",
            wrong=_with(pair=lambda ours, theirs: _ratios(theirs, ours)),
        ),
        Mistake(
            key="not sorted",
            diagnosis="You drop the first and last rounds. Sort the ratios "
            "first: the least and the largest are to go.",
            wrong=_with(order=list),
            also=(
                _cut(order=list),
                _cut(order=list, ends=True),
                lambda a, b, drop: (
                    _cut(order=list, ends=True)(a, b, drop)[0],
                    median(_ratios(a, b)),
                    _cut(order=list, ends=True)(a, b, drop)[2],
                ),
            ),
        ),
        Mistake(
            key="nothing dropped",
            diagnosis="Your interval holds every round. Drop the `drop` "
            "least and the `drop` largest ratios first.",
            wrong=_with(below=False, above=False),
        ),
        Mistake(
            key="one end only",
            diagnosis="You drop ratios at one end only. Good luck is as "
            "much luck as bad: drop as many at both.",
            wrong=_with(below=False),
            also=(_with(above=False), _cut(right=0), _cut(left=0)),
        ),
        Mistake(
            key="off by one",
            diagnosis="You are off by one at an end. Counted from 0, place "
            "`drop` holds the first ratio kept, and len - 1 - drop the last.",
            wrong=_at(lambda n, drop: drop, lambda n, drop: -drop),
            also=(
                _at(lambda n, drop: drop, lambda n, drop: n - drop),
                _at(lambda n, drop: drop - 1, lambda n, drop: -drop),
                _at(lambda n, drop: drop - 1, lambda n, drop: n - 1 - drop),
                _at(lambda n, drop: drop - 1, lambda n, drop: n - drop),
            ),
        ),
        Mistake(
            key="slice to minus zero",
            diagnosis="x[drop:-drop] is empty where drop is 0, because -0 is "
            "the beginning. Write x[drop : len(x) - drop].",
            wrong=_sliced(ends=False),
            also=(_sliced(ends=True),),
        ),
        Mistake(
            key="another order",
            diagnosis="Your three numbers are right, but in another order: "
            "low, middle, high.",
            wrong=lambda *a: tuple(ratio_interval(*a)[i] for i in (1, 0, 2)),
            also=(
                lambda *a: tuple(ratio_interval(*a)[i] for i in (0, 2, 1)),
                lambda *a: ratio_interval(*a)[::-1],
            ),
        ),
        slip(
            "no ratios",
            "Your numbers are not ratios of the two times of a round.",
            ratio_interval,
            ("a / b", "a"),
            ("a / b", "b"),
            ("a / b", "a * b"),
            ("a / b", "a - b"),
            ("a / b", "a // b"),
        ),
        slip(
            "one more dropped",
            "You drop one ratio more at an end, or one less.",
            ratio_interval,
            (
                "ratios[drop : len(ratios) - drop]",
                "ratios[drop + 1 : len(ratios) - drop]",
            ),
            (
                "ratios[drop : len(ratios) - drop]",
                "ratios[drop : len(ratios) - drop - 1]",
            ),
            (
                "ratios[drop : len(ratios) - drop]",
                "ratios[drop : len(ratios) - drop + 1]",
            ),
        ),
    ),
    hints=(
        "What do ours[i] and theirs[i] share, and ours[i] and theirs[i + 1] "
        "not? So which numbers should be divided, and when?",
        "Make the list of ours[i] / theirs[i] and sort it. Its entry number "
        "`drop`, counted from 0, is the low end; the high end is as far from "
        "the other end. statistics.median finds the middle.",
        "x = sorted(a / b for a, b in zip(ours, theirs)); return x[drop], "
        "median(x), x[len(x) - 1 - drop].",
    ),
)
