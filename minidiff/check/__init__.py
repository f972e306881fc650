"""Checks for the exercises of the course.

``check.ex03_2(my_function)`` tests an answer to exercise 3.2 and says what is
wrong with it; ``hint("3.2", 1)`` to ``hint("3.2", 3)`` give three hints, each
more detailed than the last; ``solution("3.2")`` prints a solution. The
exercises of problem set 1 are P1.1, P1.2 and so on; ``check.exP1_2`` tests an
answer to P1.2. The docstring that a stub has in the chapter says which
arguments an answer takes, with their shapes, and what it returns.

A check prints what it found and returns a ``Result``, which counts as true if
the answer passed. Its ``status`` is "passed", "failed" or "not attempted",
``text`` is what was printed, and ``mistake`` is the short name of the known
mistake that was made, or None. Nothing that an answer raises is raised by its
check: the answer has failed then. A name of no exercise, such as
``check.ex03_99``, raises AttributeError.

An answer that passes is kept in a file, and ``mine("3.2")`` returns it in a
later chapter.

A *set* of exercises is a chapter, "03", or a problem set, "P1".
"""

import json
import re
from collections.abc import Callable
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from minidiff.check import boundary, kept, progress
from minidiff.check.compare import source_of
from minidiff.check.core import Exercise, Result
from minidiff.check.core import check as _check

# The docstring of an exercise's file: "Exercise 3.2: one differential head."
_FIRST_LINE = re.compile(r'"""(?:Exercise|Problem) (P?\d+\.\d+): ([^"]+)')
_results: dict[str, Result] = {}


def __getattr__(name: str) -> Callable[..., Result]:
    """Return the check of an exercise by its name: ``ex03_2`` for 3.2."""
    match = re.fullmatch(r"ex(\d\d|P\d)_(\d+)", name)
    if not match:
        raise AttributeError(f"module 'minidiff.check' has no {name!r}")
    exercise_id = f"{match[1].removeprefix('0')}.{match[2]}"
    try:
        _known(exercise_id)
    except ValueError as error:
        raise AttributeError(str(error)) from None

    def check(answer: Callable[..., Any]) -> Result:
        _tell_of_no_limit()
        result = _check(_find(exercise_id), answer)
        _results[exercise_id] = result
        print(result.text)
        if result:
            _keep(exercise_id, answer)
        _count(result)
        return result

    check.__name__ = check.__qualname__ = name
    check.__doc__ = f"Check exercise {exercise_id}: {subjects()[exercise_id]}"
    return check


def __dir__() -> list[str]:
    """List what Tab offers: the functions of this file and all checks."""
    own = {
        name
        for name, value in globals().items()
        if getattr(value, "__module__", None) == __name__
    }
    return sorted([*own, *map(_check_name, subjects())])


@cache
def _tell_of_no_limit() -> None:
    """Say once in a session if nothing stops an answer that never ends."""
    if not boundary.has_time_limit():
        print(
            "Checks have no time limit here. If one never ends, restart the "
            "kernel and run the cells above again."
        )


@cache
def subjects() -> dict[str, str]:
    """Return the subject of every exercise, chapters before problem sets.

    ``subjects()["3.2"]`` is "one differential head." The function reads the
    first lines of the exercises' files and does not import them.
    """
    found = {}
    for path in Path(__file__).parent.glob("ex*/*.py"):
        with path.open(encoding="utf-8") as lines:
            match = _FIRST_LINE.match(next(lines, ""))
        if match:
            found[match[1]] = match[2].strip()
    return dict(sorted(found.items(), key=_place))


def _place(item: tuple[str, str]) -> tuple[str, int]:
    return set_of(item[0]), int(item[0].partition(".")[2])


def sets() -> list[str]:
    """Return the names of all sets: chapters, "03", then problem sets."""
    return list(dict.fromkeys(map(set_of, subjects())))


def exercises(name: str) -> list[str]:
    """Return the exercise ids of a set: ``exercises("03")[0]`` is "3.1".

    The list is empty if there is no such set.
    """
    return [i for i in subjects() if set_of(i) == name]


def exercises_by_set() -> dict[str, list[str]]:
    """Return the exercise ids of every set, by the set's name."""
    return {name: exercises(name) for name in sets()}


def set_of(exercise_id: str) -> str:
    """Return the set of an exercise: "03" for "3.1", "P1" for "P1.1"."""
    return exercise_id.partition(".")[0].zfill(2)


def hint(exercise_id: str, level: int = 1) -> None:
    """Print hint 1, 2 or 3 of an exercise; each tells more than the last.

    Raises ValueError naming ``level`` or ``exercise_id``, and TypeError if
    exercise_id is not a string.
    """
    texts = hints(exercise_id)
    if level not in range(1, len(texts) + 1):
        raise ValueError(f"level: got {level!r}, expected 1 to {len(texts)}")
    print(f"{exercise_id}, hint {level}: {texts[level - 1]}")


def hints(exercise_id: str) -> tuple[str, ...]:
    """Return all hints of an exercise, the first one first.

    Raises ValueError or TypeError naming ``exercise_id``.
    """
    return _find(exercise_id).hints


def solution(exercise_id: str) -> None:
    """Print one right answer to an exercise.

    Raises ValueError or TypeError naming ``exercise_id``.
    """
    print(solution_source(exercise_id))


def solution_source(exercise_id: str) -> str:
    """Return one right answer to an exercise as source text.

    Raises ValueError or TypeError naming ``exercise_id``.
    """
    return source_of(_find(exercise_id).solution)


def mine(exercise_id: str) -> Any:
    """Return your kept answer to an exercise, or else the solution.

    It prints one line that says which of the two it is. Answers are kept in
    the folder ``answers`` of the course, or in the one that the environment
    variable MINIDIFF_ANSWERS names; if that is empty, none are.

    Raises ValueError or TypeError naming ``exercise_id``.
    """
    exercise = _find(exercise_id)
    return kept.mine(
        kept.path_of(_check_name(exercise_id)),
        _titled(exercise_id),
        _name_of(exercise),
        exercise.solution,
    )


def _keep(exercise_id: str, answer: Callable[..., Any]) -> None:
    """Keep an answer that passed; print a line if it is new or is not kept."""
    subject = subjects()[exercise_id].rstrip(".")
    line = kept.keep(
        kept.path_of(_check_name(exercise_id)),
        f"{_titled(exercise_id)} ({subject})",
        answer,
        _name_of(_find(exercise_id)),
    )
    if line:
        print(line)


def _count(result: Result) -> None:
    """Write down an exercise that passed; print the tally of its set.

    An exercise that was not attempted prints nothing.
    """
    folder = kept.folder()
    if folder is None or result.status == "not attempted":
        return
    name = set_of(result.id)
    every = exercises_by_set()
    print(progress.after_check(folder, result.id, name, every, bool(result)))


def _check_name(exercise_id: str) -> str:
    """Return the name of an exercise's check: "ex03_2" for "3.2"."""
    return f"ex{set_of(exercise_id)}_{exercise_id.partition('.')[2]}"


def _titled(exercise_id: str) -> str:
    kind = "problem" if exercise_id.startswith("P") else "exercise"
    return f"{kind} {exercise_id}"


def _name_of(exercise: Exercise) -> str:
    """Return the name that the stub gives to the answer."""
    solution = exercise.solution
    name: str = getattr(solution, "fn", solution).__name__
    return name


def report() -> None:
    """Print the last result of each exercise checked so far, as JSON."""
    print(json.dumps({i: r.status for i, r in sorted(_results.items())}))


def _known(exercise_id: str) -> None:
    """Raise TypeError or ValueError if there is no such exercise."""
    if not isinstance(exercise_id, str):
        raise TypeError(
            f"exercise_id: got {exercise_id!r}, expected text in quotes, "
            'such as "3.2"'
        )
    if exercise_id in subjects():
        return
    beside = exercises(set_of(exercise_id))
    if beside:
        raise ValueError(
            f"exercise_id: got {exercise_id!r}, expected one of "
            + ", ".join(beside)
        )
    raise ValueError(
        f"exercise_id: got {exercise_id!r}, expected an exercise of the "
        'course, such as "3.2"'
    )


def _find(exercise_id: str) -> Exercise:
    _known(exercise_id)
    module = import_module(f"minidiff.check.ex{set_of(exercise_id)}")
    return {e.id: e for e in module.EXERCISES}[exercise_id]
