"""Check of one exercise: run the answer, compare it, name the mistake."""

import dis
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from minidiff.check import boundary, untouched
from minidiff.check.boundary import Raised
from minidiff.check.compare import (
    Problem,
    narrower,
    problem,
    rounding_between,
    same,
    unexpected,
)
from minidiff.check.outcome import ArgumentChangedError as ArgumentChangedError
from minidiff.check.outcome import Outcome, outcome_of
from minidiff.check.place import run_again


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
    number, or a tuple of them; ``results`` names its parts in messages.
    ``solution`` starts with the same lines as the stub in the chapter.
    """

    id: str
    cases: Callable[[], list[Case]]
    solution: Callable[..., Any]
    mistakes: tuple[Mistake, ...]
    hints: tuple[str, str, str]
    run: Callable[..., Any] = field(default=call)
    tolerance: float = 1e-9
    results: tuple[str, ...] = ()


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


def known_outcome(
    exercise: Exercise, answer: Callable[..., Any], case: Case
) -> Outcome | Exception | None:
    """Return the outcome of the solution or a known mistake, or its error."""
    try:
        return _outcome(exercise, answer, case.args)
    except Exception as error:
        return error.with_traceback(None)


Known = Callable[
    [Exercise, Callable[..., Any], Case], Outcome | Exception | None
]


def check(
    exercise: Exercise,
    answer: Callable[..., Any],
    known: Known = known_outcome,
) -> Result:
    """Test ``answer`` on every case of the exercise.

    Nothing that the answer raises is raised here: it becomes a failed result.
    The answer has ``boundary.SECONDS`` for all cases together. ``known``
    gives the outcomes of the solution and of the known mistakes, with which
    the answer's are compared.
    """
    if not callable(answer):
        kind = type(answer).__name__
        return _failed(
            exercise,
            Problem(text=f"  got       {kind}, expected the function itself"),
        )
    if names := untouched.changed():
        return _failed(exercise, _replaced(names, "something in this session"))
    before = untouched.settings()
    try:
        outcomes, ended = _outcomes(exercise, answer)
    finally:
        names = untouched.restore() + untouched.reset(before)
    if names:
        return _failed(exercise, _replaced(names, "your function"))
    if ended is not None:
        return ended
    found = _first_problem(exercise, outcomes, known)
    if found is None:
        count = len(outcomes)
        return Result(
            id=exercise.id,
            status="passed",
            text=f"{exercise.id} passed: {count} cases.",
        )
    case, wrong = found
    loose = not wrong.only_dtype
    mistake = _diagnose(exercise, outcomes, known, loose)
    return _failed(exercise, wrong, case, mistake)


def _outcomes(
    exercise: Exercise, answer: Callable[..., Any]
) -> tuple[list[Any], Result | None]:
    """Run the answer on each case; a Result if one case ends the check."""
    outcomes: list[Any] = []
    end = time.monotonic() + boundary.SECONDS
    for case in exercise.cases():
        outcome, printed = boundary.run(
            partial(_outcome, exercise, answer, case.args),
            end - time.monotonic(),
        )
        if outcome is None:
            if outcomes or printed or not _is_empty(answer):
                return outcomes, _none(exercise, case, printed)
            return outcomes, _not_attempted(exercise)
        outcomes.append(outcome)
        if isinstance(outcome, Raised) and outcome.ends_check:
            return outcomes, _failed(exercise, _raised(outcome), case)
    return outcomes, None


def _replaced(names: list[str], who: str) -> Problem:
    shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
    return Problem(
        text=f"  changed   {shown}\n"
        f"  by        {who}; the checks need the original"
        + ("" if who == "your function" else ": restart the kernel")
    )


def _raised(outcome: Raised) -> Problem:
    if isinstance(outcome.error, boundary.StoppedError):
        return Problem(
            text=f"  stopped   {outcome.text}: does a loop never end?"
        )
    name = type(outcome.error).__name__
    where = f"\n  in line   {outcome.line}" if outcome.line else ""
    return Problem(text=f"  raised    {name}: {outcome.text}{where}")


# What a function without statements compiles to, with a docstring or not.
_NO_STATEMENT = {"RESUME", "NOP", "LOAD_CONST", "RETURN_CONST", "RETURN_VALUE"}


def _is_empty(answer: Any) -> bool:
    """Tell whether a function, or a class's ``forward``, has no statements.

    Objects without Python's own code, such as kernels, count as empty.
    """
    code = getattr(getattr(answer, "forward", answer), "__code__", None)
    return code is None or all(
        x.opname in _NO_STATEMENT for x in dis.get_instructions(code)
    )


def _none(exercise: Exercise, case: Case, printed: str) -> Result:
    """Return the result for an answer that returned None for a case."""
    got = "None: is the `return` missing?"
    if printed:
        shown = printed.strip()[:40]
        got = f"None; it printed {shown!r}, and should return it"
    return _failed(exercise, Problem(text=f"  got       {got}"), case)


def _not_attempted(exercise: Exercise) -> Result:
    return Result(
        id=exercise.id,
        status="not attempted",
        text=f"{exercise.id} not attempted yet: write at "
        f"`# your code`, then {run_again()}.",
    )


def _outcome(
    exercise: Exercise, answer: Callable[..., Any], args: tuple[Any, ...]
) -> Outcome | None:
    return outcome_of(exercise.run, answer, args)


def _first_problem(
    exercise: Exercise, outcomes: list[Any], known: Known
) -> tuple[Case, Problem] | None:
    """Describe the first case that is wrong, or None if all are right.

    A wrong dtype is described only if the numbers are right in every case.
    """
    dtype = None
    for case, got in zip(exercise.cases(), outcomes, strict=True):
        if isinstance(got, Raised):
            if isinstance(got.error, ArgumentChangedError):
                text = f"  got       {got.text}; work on a copy"
                return case, Problem(text=text)
            return case, _raised(got)
        want = known(exercise, exercise.solution, case)
        assert isinstance(want, Outcome), want
        count = len(want.parts)
        if len(got.parts) != count:
            s = "" if len(got.parts) == 1 else "s"
            came = "a list" if got.listed else f"{len(got.parts)} result{s}"
            text = f"  got       {came}, expected {count}"
            return case, Problem(text=text + (" results" * got.listed))
        other = unexpected(got.returned, want.returned)
        rounding = narrower(other, want.returned)
        between = rounding_between(got.parts, want.parts)
        tolerance = max(exercise.tolerance, rounding, between)
        for n, (x, y) in enumerate(zip(got.parts, want.parts, strict=True), 1):
            found = problem(x, y, tolerance)
            if found and (found.explained or rounding or not other):
                names = exercise.results or [f"number {n}"] * count
                which = f"  result    {names[n - 1]}\n" if count > 1 else ""
                found = replace(found, text=which + found.text)
                if not found.only_dtype:
                    return case, found
                dtype = dtype or (case, found)
        if other:
            text = f"  returned  {', '.join(other)}; expected "
            text += ", ".join(sorted(want.returned))
            if not rounding:
                return case, Problem(text=text)
            dtype = dtype or (case, Problem(text=text, only_dtype=True))
    return dtype


def _diagnose(
    exercise: Exercise, outcomes: list[Any], known: Known, loose: bool
) -> Mistake | None:
    """Find the known mistake that has exactly these outcomes.

    With ``loose``, an answer in float32 may differ by its rounding.
    """
    cases = exercise.cases()
    for mistake in exercise.mistakes:
        for wrong in (mistake.wrong, *mistake.also):
            # Stop at the first case that differs, as kernels are slow.
            if all(
                _agree(exercise, known(exercise, wrong, case), ours, loose)
                for case, ours in zip(cases, outcomes, strict=True)
            ):
                return mistake
    return None


def _agree(
    exercise: Exercise,
    theirs: Outcome | Exception | None,
    ours: Any,
    loose: bool,
) -> bool:
    if isinstance(theirs, Exception):
        return isinstance(ours, Raised) and same(theirs, ours.error)
    if theirs is None or isinstance(ours, Raised):
        return False
    tolerance = max(exercise.tolerance, 1e-9)
    return same(theirs.parts, ours.parts, tolerance, loose)


def _failed(
    exercise: Exercise,
    problem: Problem,
    case: Case | None = None,
    mistake: Mistake | None = None,
) -> Result:
    lines = [f"{exercise.id} is not right yet"]
    if case is not None:
        lines.append(f"  tried     {case.name}")
    lines.append(problem.text)
    if mistake is not None:
        lines.append(f"  diagnosis {mistake.diagnosis}")
    elif not problem.explained:
        lines.append("  diagnosis none: no mistake we know gives this")
    lines.append(f'  more help hint("{exercise.id}", 1)')
    return Result(
        id=exercise.id,
        status="failed",
        text="\n".join(lines),
        mistake=None if mistake is None else mistake.key,
    )
