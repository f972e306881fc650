"""Check of one exercise: run the answer, compare it, name the mistake."""

import copy
import io
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minidiff.check.compare import arrays_in, as_array, same, unlike


@dataclass(frozen=True, kw_only=True)
class Case:
    """One test case: its arguments, and its name in messages."""

    name: str
    args: tuple[Any, ...]


@dataclass(frozen=True, kw_only=True)
class Mistake:
    """A common wrong answer, and the message for it.

    ``also`` holds variants of the same mistake with other outcomes.
    """

    key: str
    diagnosis: str
    wrong: Callable[..., Any]
    also: tuple[Callable[..., Any], ...] = ()


def call(answer: Callable[..., Any], *args: Any) -> Any:
    """Run an answer that is a function; the default of ``Exercise.run``."""
    return answer(*args)


@dataclass(frozen=True, kw_only=True)
class Exercise:
    """An exercise: its cases, its solution, its known wrong answers.

    ``run(answer, *case.args)`` returns the outcome to compare: an array, a
    number, or a tuple of them. ``solution`` starts with the same lines as
    the stub in the chapter.
    """

    id: str
    cases: Callable[[], list[Case]]
    solution: Callable[..., Any]
    mistakes: tuple[Mistake, ...]
    hints: tuple[str, str, str]
    run: Callable[..., Any] = field(default=call)
    tolerance: float = 1e-9


@dataclass(frozen=True, kw_only=True)
class Result:
    """Result of a check; it counts as true if the answer passed."""

    id: str
    status: str  # "passed", "failed" or "not attempted"
    text: str
    mistake: str | None = None

    def __bool__(self) -> bool:
        return self.status == "passed"

    def _ipython_display_(self) -> None:
        """Display nothing, because the check has already printed its text."""


class ArgumentChangedError(Exception):
    """Raised if an answer changed one of its arguments."""


def check(exercise: Exercise, answer: Callable[..., Any]) -> Result:
    """Test ``answer`` on every case of the exercise.

    An exception in the answer is not raised: it becomes a failed result.
    """
    if not callable(answer):
        kind = type(answer).__name__
        return _failed(
            exercise, f"  got       {kind}, expected the function itself"
        )
    outcomes = []
    for case in exercise.cases():
        with redirect_stdout(io.StringIO()) as printed:
            outcomes.append(_outcome(exercise, answer, case.args))
        print(printed.getvalue(), end="")
        if outcomes[-1] is None:
            first = len(outcomes) == 1
            return _none(exercise, case, printed.getvalue(), first)
    problem = _first_problem(exercise, outcomes)
    if problem is None:
        count = len(outcomes)
        return Result(
            id=exercise.id,
            status="passed",
            text=f"{exercise.id} passed: {count} cases.",
        )
    return _failed(exercise, problem, _diagnose(exercise, outcomes))


def _none(exercise: Exercise, case: Case, printed: str, first: bool) -> Result:
    """Return the result for an answer that returned None for a case."""
    if printed or not first:
        got = "None; is a `return` missing?"
        if printed:
            got = (
                f"None; it printed {printed.strip()[:40]!r}, and should "
                "return it"
            )
        return _failed(exercise, f"  tried     {case.name}\n  got       {got}")
    return Result(
        id=exercise.id,
        status="not attempted",
        text=f"{exercise.id} not attempted yet: write at "
        "`# your code`, then run this cell again.",
    )


def _outcome(
    exercise: Exercise, answer: Callable[..., Any], args: tuple[Any, ...]
) -> Any:
    """Return the answer's outcome: a list of arrays, an exception or None."""
    given = copy.deepcopy(args)
    try:
        with np.errstate(all="ignore"):
            out = exercise.run(answer, *given)
        if out is None:
            return None
        parts = out if isinstance(out, tuple) else (out,)
        arrays = [as_array(part) for part in parts]
    except Exception as error:
        return error
    if not same(arrays_in(given), arrays_in(args)):
        return ArgumentChangedError("your function changed an argument")
    return arrays


def _first_problem(exercise: Exercise, outcomes: list[Any]) -> str | None:
    """Describe the first case that is wrong, or None if all are right."""
    for case, got in zip(exercise.cases(), outcomes, strict=True):
        tried = f"  tried     {case.name}\n"
        if isinstance(got, Exception):
            if isinstance(got, ArgumentChangedError):
                return f"{tried}  got       {got}; work on a copy"
            return f"{tried}  raised    {type(got).__name__}: {got}"
        want = _outcome(exercise, exercise.solution, case.args)
        if len(got) != len(want):
            s = "" if len(got) == 1 else "s"
            return (
                f"{tried}  got       {len(got)} result{s}, "
                f"expected {len(want)}"
            )
        for n, (x, y) in enumerate(zip(got, want, strict=True), 1):
            if len(want) > 1:
                tried = f"  tried     {case.name}\n  result    number {n}\n"
            if x.shape != y.shape:
                return (
                    f"{tried}  got       shape {x.shape}, expected {y.shape}"
                )
            close = np.isclose(
                x, y, rtol=exercise.tolerance, atol=exercise.tolerance
            )
            if not close.all():
                i = tuple(int(n) for n in np.argwhere(~close)[0])
                index = f"  index     {list(i)}\n" if i else ""
                expected, came = unlike(y[i], x[i])
                return (
                    f"{tried}{index}  expected  {expected}\n  got       {came}"
                )
    return None


def _diagnose(exercise: Exercise, outcomes: list[Any]) -> Mistake | None:
    """Find the known mistake that has exactly these outcomes."""
    cases = exercise.cases()
    for mistake in exercise.mistakes:
        for wrong in (mistake.wrong, *mistake.also):
            # Stop at the first case that differs, as kernels are slow.
            if all(
                same(
                    _outcome(exercise, wrong, case.args),
                    ours,
                    max(exercise.tolerance, 1e-9),
                )
                for case, ours in zip(cases, outcomes, strict=True)
            ):
                return mistake
    return None


def _failed(
    exercise: Exercise, problem: str, mistake: Mistake | None = None
) -> Result:
    if mistake is None:
        advice = "  diagnosis none: no mistake we know gives this"
    else:
        advice = f"  diagnosis {mistake.diagnosis}"
    return Result(
        id=exercise.id,
        status="failed",
        text=f"{exercise.id} is not right yet\n{problem}\n{advice}\n"
        f'  more help hint("{exercise.id}", 1)',
        mistake=None if mistake is None else mistake.key,
    )
