"""Exercise 3.4: a needle that is learned together with its lambda."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.reference import softmax


def learned_needle(
    noise1: np.ndarray,
    noise2: np.ndarray,
    needle: int,
    start: tuple[float, float],
    rate: float,
    steps: int,
) -> np.ndarray:
    """Return (lift, lam) at the start and after each step, (steps + 1, 2).

    noise1, noise2 (N, S): the scores of N rows in both branches. Branch 1
    adds lift to its scores of the needle, branch 2 does not. start: the first
    lift and lam. Each step moves both by rate times their slope in
    log(SNR), with the SNR of eq. 3.2.
    """

    def goal(lift: float, lam: float) -> float:
        scores1 = noise1.copy()
        scores1[:, needle] += lift
        A = softmax(scores1) - lam * softmax(noise2)
        signal = abs(A[:, needle].mean())
        others = np.delete(A, needle, axis=1)
        return np.log(signal / np.sqrt((others**2).sum(-1).mean()))

    h = 1e-4
    lift, lam = start
    path = [(lift, lam)]
    for _ in range(steps):
        up = goal(lift + h, lam) - goal(lift - h, lam)
        along = goal(lift, lam + h) - goal(lift, lam - h)
        lift += rate * up / (2 * h)
        lam += rate * along / (2 * h)
        path.append((lift, lam))
    return np.array(path)


def _cases() -> list[Case]:
    cases = []
    for seed, (N, S, needle, start, rate, steps) in enumerate(
        [
            (3, 4, 0, (1.0, 0.2), 0.2, 0),
            (3, 4, 0, (1.0, 0.2), 0.2, 1),
            (40, 6, 2, (0.5, 0.2), 0.1, 8),
            (20, 8, 7, (-1.0, 1.2), 0.1, 5),
        ]
    ):
        shared, own1, own2 = np.random.default_rng(seed).normal(size=(3, N, S))
        noise = 0.9 * shared + 0.3 * own1, 0.9 * shared + 0.3 * own2
        cases.append(
            Case(
                name=f"N = {N}, S = {S}, needle = {needle}, start = {start}, "
                f"rate = {rate}, steps = {steps}",
                args=(*noise, needle, start, rate, steps),
            )
        )
    return cases


def _goal(
    noise1: np.ndarray,
    noise2: np.ndarray,
    needle: int,
    lift: float,
    lam: float,
    *,
    both: bool = False,
    subtracted: str = "weights",
    needle_too: bool = False,
    flat: bool = False,
    replaced: bool = False,
    in_row: bool = False,
    signal: str = "mean",
    noise: str = "root of the mean sum",
    logarithm: Callable[[Any], Any] = np.log,
    absolute: bool = True,
) -> float:
    """The goal with something about it changed: the mistakes below."""
    raised = lift * (np.arange(noise1.shape[1]) == needle)
    scores1, scores2 = noise1 + raised, noise2 + both * raised
    if replaced:
        scores1[:, needle] = lift
    if in_row:
        scores1 = noise1.copy()
        scores1[needle] += lift
    if subtracted == "scores":
        A = softmax(scores1 - lam * scores2)
    elif subtracted == "added":
        A = softmax(scores1) + lam * softmax(scores2)
    else:
        A = softmax(scores1) - lam * softmax(scores2)
    rest = A if needle_too else np.delete(A, needle, 1)
    rest = np.delete(A, needle)[:, None] if flat else rest
    top = A[needle] if signal == "a row" else A[:, needle]
    if signal == "each row":
        ratio = np.abs(top) / np.sqrt((rest**2).sum(-1))
        return float(np.log(ratio).mean())
    size = {
        "root of the mean sum": np.sqrt((rest**2).sum(-1).mean()),
        "mean of the roots": np.sqrt((rest**2).sum(-1)).mean(),
        "absolute": np.abs(rest).sum(-1).mean(),
        "no root": (rest**2).sum(-1).mean(),
    }[noise]
    ratio = (abs(top.mean()) if absolute else top.mean()) / size
    return float(logarithm(ratio))


def _learn(
    noise1: np.ndarray,
    noise2: np.ndarray,
    needle: int,
    start: tuple[float, float],
    rate: float,
    steps: int,
    *,
    sign: float = 1.0,
    together: bool = True,
    moves: tuple[float, float] = (1.0, 1.0),
    width: float = 2.0,
    down: float = 1.0,
    **options: Any,
) -> np.ndarray:
    """Learning with something about it changed."""
    h = 1e-4
    goal = partial(_goal, noise1, noise2, needle, **options)
    here = np.array(start, dtype=float)
    path = [here.copy()]
    for _ in range(steps):
        now = here.copy()
        for i in (0, 1):
            at = now if together else here
            nudge = h * (np.arange(2) == i)
            rise = goal(*(at + nudge)) - goal(*(at - down * nudge))
            here[i] += sign * moves[i] * rate * rise / (width * h)
        path.append(here.copy())
    return np.array(path)


def _start_swapped(*args: Any) -> np.ndarray:
    path = _learn(*args)
    path[0] = path[0, ::-1]
    return path


EXERCISE = Exercise(
    id="3.4",
    cases=_cases,
    solution=learned_needle,
    mistakes=(
        Mistake(
            key="downhill",
            diagnosis="Your steps lower the SNR. The goal is a large SNR, so "
            "each number moves with its slope: plus rate times slope.",
            wrong=lambda *a: _learn(*a, sign=-1.0),
        ),
        Mistake(
            key="one after the other",
            diagnosis="The slope of lam is measured at the new lift. "
            "Measure both slopes first, at the same place, then move both.",
            wrong=lambda *a: _learn(*a, together=False),
        ),
        Mistake(
            key="lift in both branches",
            diagnosis="Both branches have the lift. Only branch 1 knows the "
            "needle.",
            wrong=lambda *a: _learn(*a, both=True),
        ),
        Mistake(
            key="lift for a score",
            diagnosis="The needle's scores become lift. They keep their own "
            "noise, and lift is added.",
            wrong=lambda *a: _learn(*a, replaced=True),
        ),
        Mistake(
            key="lift in a row",
            diagnosis="lift is added to row number `needle`. The needle is a "
            "key, and keys are the columns: scores1[:, needle].",
            wrong=lambda *a: _learn(*a, in_row=True),
        ),
        Mistake(
            key="scores subtracted",
            diagnosis="You subtract the scores and take one softmax. Take "
            "two softmaxes, then subtract.",
            wrong=lambda *a: _learn(*a, subtracted="scores"),
        ),
        Mistake(
            key="added",
            diagnosis="The second map is added. It is subtracted.",
            wrong=lambda *a: _learn(*a, subtracted="added"),
        ),
        Mistake(
            key="needle in the noise",
            diagnosis="The needle's own weight is counted as noise too. "
            "Leave its column out of the sum of squares.",
            wrong=lambda *a: _learn(*a, needle_too=True),
        ),
        Mistake(
            key="a ratio for each row",
            diagnosis="You take the logarithm of each row's own ratio, and "
            "then the mean. Equation 3.2 takes the means first: one signal "
            "and one noise for all rows.",
            wrong=lambda *a: _learn(*a, signal="each row"),
        ),
        Mistake(
            key="mean of the roots",
            diagnosis="You take the root in each row and then the mean. In "
            "equation 3.2 the root comes last.",
            wrong=lambda *a: _learn(*a, noise="mean of the roots"),
        ),
        Mistake(
            key="absolute weights",
            diagnosis="The noise is a sum of absolute weights. In equation "
            "3.2 it is the root of the summed squares.",
            wrong=lambda *a: _learn(*a, noise="absolute"),
        ),
        Mistake(
            key="no root",
            diagnosis="The root of the mean sum of squares is missing.",
            wrong=lambda *a: _learn(*a, noise="no root"),
        ),
        Mistake(
            key="no logarithm",
            diagnosis="You climb the SNR itself. The slopes are those of its "
            "logarithm.",
            wrong=lambda *a: _learn(*a, logarithm=lambda ratio: ratio),
        ),
        Mistake(
            key="another logarithm",
            diagnosis="The logarithm has another base. Its slopes differ by "
            "a factor, and so do the steps: take np.log.",
            wrong=lambda *a: _learn(*a, logarithm=np.log2),
            also=(lambda *a: _learn(*a, logarithm=np.log10),),
        ),
        Mistake(
            key="a row for the needle",
            diagnosis="You take row number `needle` of the weights. The "
            "needle is a key, and keys are the columns: A[:, needle].",
            wrong=lambda *a: _learn(*a, signal="a row"),
        ),
        Mistake(
            key="delete without an axis",
            diagnosis="np.delete without an axis flattens the weights and "
            "drops a single one of them. Delete the needle's column: "
            "np.delete(A, needle, axis=1).",
            wrong=lambda *a: _learn(*a, flat=True),
        ),
        Mistake(
            key="no absolute value",
            diagnosis="The mean weight of the needle is negative here, and "
            "its logarithm is NaN. Equation 3.2 takes the absolute value.",
            wrong=lambda *a: _learn(*a, absolute=False),
        ),
        Mistake(
            key="divided by h",
            diagnosis="Both slopes are twice too large. From x - h to x + h "
            "it is 2h; and the goal is log(SNR), not that of its square.",
            wrong=lambda *a: _learn(*a, width=1.0),
        ),
        Mistake(
            key="brackets",
            diagnosis="/ 2 * h divides by 2 and then multiplies by h. Write "
            "/ (2 * h).",
            wrong=lambda *a: _learn(*a, width=2e8),
        ),
        Mistake(
            key="one side",
            diagnosis="You nudge up only. Up and down, divided by 2h, is far "
            "more precise.",
            wrong=lambda *a: _learn(*a, down=0.0, width=1.0),
        ),
        Mistake(
            key="one array in all rows",
            diagnosis="All rows show the end: you changed one array in place "
            "and stored it again and again. Store a copy, or two numbers.",
            wrong=lambda *a: _learn(*a)[[-1] * (a[5] + 1)],
        ),
        Mistake(
            key="lam stays",
            diagnosis="Only the lift moves. lam has a slope and moves too.",
            wrong=lambda *a: _learn(*a, moves=(1.0, 0.0)),
        ),
        Mistake(
            key="lift stays",
            diagnosis="Only lam moves. The lift has a slope and moves too.",
            wrong=lambda *a: _learn(*a, moves=(0.0, 1.0)),
        ),
        Mistake(
            key="rate dropped",
            diagnosis="rate is not used. A step is rate times slope.",
            wrong=lambda a, b, i, start, rate, n: _learn(
                a, b, i, start, 1.0, n
            ),
        ),
        Mistake(
            key="key 0 as the needle",
            diagnosis="Key 0 is taken as the needle. Its index is given.",
            wrong=lambda a, b, i, *rest: _learn(a, b, 0, *rest),
        ),
        Mistake(
            key="start left out",
            diagnosis="The first row is missing: the start belongs to the "
            "path, so there are steps + 1 rows.",
            wrong=lambda *a: _learn(*a)[1:],
        ),
        Mistake(
            key="end left out",
            diagnosis="The last row is missing: the place after the last "
            "step belongs to the path, so there are steps + 1 rows.",
            wrong=lambda *a: _learn(*a)[:-1],
        ),
        Mistake(
            key="only the end",
            diagnosis="Only the last lift and lam come back. Return the "
            "whole path, one row for the start and one for each step.",
            wrong=lambda *a: _learn(*a)[-1],
        ),
        Mistake(
            key="columns swapped",
            diagnosis="The columns are swapped: lift comes first, then lam.",
            wrong=lambda *a: _learn(*a)[:, ::-1],
        ),
        Mistake(
            key="start swapped",
            diagnosis="The first row is (lam, lift). Every row is "
            "(lift, lam), the start as well.",
            wrong=_start_swapped,
        ),
        Mistake(
            key="sideways",
            diagnosis="The path lies on its side: each step is a row, so the "
            "shape is (steps + 1, 2).",
            wrong=lambda *a: _learn(*a).T,
        ),
    ),
    hints=(
        "Write a function goal(lift, lam) first, which returns log(SNR) for "
        "all rows. Then a slope is (goal(lift + h, lam) - goal(lift - h, "
        "lam)) / (2 * h) with h = 1e-4.",
        "In goal: copy noise1, add lift to column needle, take two "
        "softmaxes, subtract. The signal is the mean of column needle; "
        "np.delete(A, needle, axis=1) has the other keys.",
        "Start a list with (lift, lam). In each step compute both slopes "
        "first, then lift += rate * slope1 and lam += rate * slope2, then "
        "append. Return np.array of the list.",
    ),
    tolerance=1e-5,
)
