"""Description of a wrong answer that makes no mistake we know."""

import inspect
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from io import StringIO
from typing import Any

import numpy as np

from minidiff.check import boundary, untouched
from minidiff.check.compare import Part, rounding_between
from minidiff.check.definition import Case, Exercise, Known, known_outcome
from minidiff.check.differences.describe import describe
from minidiff.check.differences.finding import Finding
from minidiff.check.differences.pair import Pair, pair_of
from minidiff.check.outcome import Outcome


def description(
    exercise: Exercise,
    answer: Callable[..., Any],
    outcomes: Sequence[Any],
    known: Known,
) -> list[Finding]:
    """Return what is true of the answer's outcomes.

    The answer may be run again, with other arguments: what it prints then is
    not shown, and what it replaces is put back.
    """
    solution = exercise.solution
    table: dict[str, list[Pair]] = {}
    for case, got in zip(exercise.cases(), outcomes, strict=True):
        want = known(exercise, solution, case)
        pairs = _pairs(exercise, case, got, want)
        if pairs is None:
            return []
        for name, pair in pairs.items():
            table.setdefault(name, []).append(pair)

    def probe(
        name: str, args: dict[str, Any]
    ) -> tuple[np.ndarray, np.ndarray] | None:
        case = Case(name="", args=tuple(args.values()))
        want = _quietly(partial(known_outcome, exercise, solution, case))
        got = _quietly(partial(exercise.outcome, answer, case.args))
        pairs = _pairs(exercise, case, got, want)
        pair = pairs.get(name) if pairs else None
        return (pair.got, pair.want) if pair else None

    return describe(table, lambda name: partial(probe, name))


def _pairs(
    exercise: Exercise, case: Case, got: Any, want: Any
) -> dict[str, Pair] | None:
    """Return each result of one case; None if they cannot be compared."""
    if not isinstance(got, Outcome) or not isinstance(want, Outcome):
        return None
    count = len(want.parts)
    if len(got.parts) != count:
        return None
    names = _argument_names(exercise, len(case.args))
    args = dict(zip(names, case.args, strict=True))
    found = {}
    for name, x, y in zip(
        exercise.result_names(count) if count > 1 else ("the result",),
        got.parts,
        want.parts,
        strict=True,
    ):
        pair = pair_of(case.name, args, x, y, _tolerance(exercise, x, y))
        if pair is None:
            return None
        found[name] = pair
    return found


def _tolerance(exercise: Exercise, got: Part, want: Part) -> float:
    return max(exercise.tolerance, rounding_between([got], [want]))


def _argument_names(exercise: Exercise, count: int) -> list[str]:
    """Return the names of a case's arguments, as the reader may know them."""
    names, more = _positional(exercise.run)
    names = names[1:]  # after the answer
    if not names and more == "args":
        solution = exercise.solution
        names, more = _positional(getattr(solution, "fn", solution))
        names = names if len(names) >= count else []
    rest = range(count - len(names))
    return [*names, *(f"{more or 'args'}[{n}]" for n in rest)][:count]


def _positional(function: Callable[..., Any]) -> tuple[list[str], str]:
    """Return the names of parameters, and that of ``*args``, if any."""
    parameters = inspect.signature(function).parameters.values()
    more = [x.name for x in parameters if x.kind == x.VAR_POSITIONAL]
    names = [x.name for x in parameters if x.name not in more]
    return names, "".join(more)


def _quietly(call: Callable[[], Any]) -> Any:
    """Make one more call, silently, and leave the session as it was."""
    before = untouched.settings()
    with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        result, _ = boundary.run(call, boundary.SECONDS)
    untouched.restore()
    untouched.reset(before)
    return result
