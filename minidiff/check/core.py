"""Check of one exercise: run the answer, compare it, name the mistake."""

import dis
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
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
from minidiff.check.definition import Case as Case
from minidiff.check.definition import Exercise as Exercise
from minidiff.check.definition import Known
from minidiff.check.definition import Mistake as Mistake
from minidiff.check.definition import known_outcome as known_outcome
from minidiff.check.described import description
from minidiff.check.differences.finding import Finding
from minidiff.check.outcome import ArgumentChangedError as ArgumentChangedError
from minidiff.check.outcome import Outcome


@dataclass(frozen=True, kw_only=True)
class Result:
    """Result of a check; it counts as true if the answer passed.

    ``mistake`` is the key of a known mistake. ``described`` is True if there
    is none, and the text says how the results differ from the right ones.
    """

    id: str
    status: str  # "passed", "failed" or "not attempted"
    text: str
    mistake: str | None = None
    described: bool = False

    def __bool__(self) -> bool:
        return self.status == "passed"

    def _ipython_display_(self) -> None:
        """Display nothing, because the check has already printed its text."""


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
    found = list(_problems(exercise, outcomes, known))
    if not found:
        count = len(outcomes)
        return Result(
            id=exercise.id,
            status="passed",
            text=f"{exercise.id} passed: {count} cases.",
        )
    case, wrong = found[0]
    loose = not wrong.only_dtype
    mistake = _diagnose(exercise, outcomes, known, loose)
    compared: list[Finding] = []
    if mistake is None and not wrong.explained:
        # Another case may show more than two unequal numbers.
        case, wrong = next((x for x in found if x[1].explained), found[0])
        if not wrong.explained:
            compared = description(exercise, answer, outcomes, known)
    return _failed(exercise, wrong, case, mistake, compared)


def _outcomes(
    exercise: Exercise, answer: Callable[..., Any]
) -> tuple[list[Any], Result | None]:
    """Run the answer on each case; a Result if one case ends the check."""
    outcomes: list[Any] = []
    end = time.monotonic() + boundary.SECONDS
    for case in exercise.cases():
        outcome, printed = boundary.run(
            partial(exercise.outcome, answer, case.args),
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
        "`# your code`, then run this cell again.",
    )


def _problems(
    exercise: Exercise, outcomes: list[Any], known: Known
) -> Iterator[tuple[Case, Problem]]:
    """Yield the first problem of each case that is wrong.

    A wrong dtype is a problem only if the numbers are right in every case.
    """
    found = [
        (case, problem)
        for case, got in zip(exercise.cases(), outcomes, strict=True)
        if (problem := _problem(exercise, case, got, known))
    ]
    values = [x for x in found if not x[1].only_dtype]
    yield from values or found


def _problem(
    exercise: Exercise, case: Case, got: Any, known: Known
) -> Problem | None:
    """Describe what is wrong in one case; None if it is right."""
    if isinstance(got, Raised):
        if isinstance(got.error, ArgumentChangedError):
            return Problem(text=f"  got       {got.text}; work on a copy")
        return _raised(got)
    want = known(exercise, exercise.solution, case)
    assert isinstance(want, Outcome), want
    count = len(want.parts)
    if len(got.parts) != count:
        s = "" if len(got.parts) == 1 else "s"
        came = "a list" if got.listed else f"{len(got.parts)} result{s}"
        text = f"  got       {came}, expected {count}"
        return Problem(text=text + (" results" * got.listed))
    dtype = None
    other = unexpected(got.returned, want.returned)
    rounding = narrower(other, want.returned)
    between = rounding_between(got.parts, want.parts)
    tolerance = max(exercise.tolerance, rounding, between)
    for n, (x, y) in enumerate(zip(got.parts, want.parts, strict=True), 1):
        found = problem(x, y, tolerance)
        if found and (found.explained or rounding or not other):
            name = exercise.result_names(count)[n - 1]
            which = f"  result    {name}\n" if count > 1 else ""
            found = replace(found, text=which + found.text)
            if not found.only_dtype:
                return found
            dtype = dtype or found
    if other:
        text = f"  returned  {', '.join(other)}; expected "
        text += ", ".join(sorted(want.returned))
        if not rounding:
            return Problem(text=text)
        dtype = dtype or Problem(text=text, only_dtype=True)
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
    compared: Sequence[Finding] = (),
) -> Result:
    lines = [f"{exercise.id} is not right yet"]
    if case is not None:
        lines.append(f"  tried     {case.name}")
    lines.append(problem.text)
    if mistake is not None:
        lines.append(f"  diagnosis {mistake.diagnosis}")
    lines += [f"  compared  {x.text}" for x in compared]
    described = any(x.telling for x in compared)
    if mistake is None and not problem.explained and not described:
        lines.append("  diagnosis none: no mistake we know gives this")
    lines.append(f'  more help hint("{exercise.id}", 1)')
    return Result(
        id=exercise.id,
        status="failed",
        text="\n".join(lines),
        mistake=None if mistake is None else mistake.key,
        described=described,
    )
