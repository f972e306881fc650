"""Checks for the exercises of the course.

``check.ex03_2(my_function)`` tries an answer to exercise 3.2 and says what is
wrong with it; ``hint("3.2", 1)`` to ``hint("3.2", 3)`` help in three steps;
``solution("3.2")`` shows one way to do it.
"""

import inspect
import json
import re
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from minidiff.check.core import Exercise, Result
from minidiff.check.core import check as _check

_results: dict[str, Result] = {}


def __getattr__(name: str) -> Callable[..., Result]:
    """Give ``ex03_2``: the check of exercise 3.2."""
    match = re.fullmatch(r"ex(\d\d)_(\d+)", name)
    if not match:
        raise AttributeError(f"module 'minidiff.check' has no {name!r}")
    try:
        exercise = _find(f"{int(match[1])}.{match[2]}")
    except ValueError as error:
        raise AttributeError(str(error)) from None

    def check(answer: Callable[..., Any]) -> Result:
        result = _check(exercise, answer)
        _results[exercise.id] = result
        print(result.text)
        return result

    return check


def exercises(chapter: str) -> list[str]:
    """Return the exercise ids of a chapter: ``exercises("03")[0]``: "3.1"."""
    return list(_chapter(chapter))


def hint(exercise_id: str, level: int) -> None:
    """Print hint 1, 2 or 3 of an exercise: each says more than the last."""
    hints = _find(exercise_id).hints
    if level not in range(1, len(hints) + 1):
        raise ValueError(f"level: got {level!r}, expected 1 to {len(hints)}")
    print(f"{exercise_id}, hint {level}: {hints[level - 1]}")


def solution(exercise_id: str) -> None:
    """Print one right answer to an exercise."""
    print(solution_source(exercise_id))


def solution_source(exercise_id: str) -> str:
    """Return one right answer to an exercise as source text."""
    return inspect.getsource(_find(exercise_id).solution)


def report() -> None:
    """Print the last result of each exercise checked so far, as JSON."""
    print(json.dumps({i: r.status for i, r in sorted(_results.items())}))


def _find(exercise_id: str) -> Exercise:
    chapter, _, number = str(exercise_id).partition(".")
    if chapter.isdigit() and number.isdigit():
        found = _chapter(f"{int(chapter):02d}")
        if exercise_id in found:
            return found[exercise_id]
        if found:
            raise ValueError(
                f"exercise_id: got {exercise_id!r}, expected one of "
                + ", ".join(found)
            )
    raise ValueError(
        f"exercise_id: got {exercise_id!r}, expected an exercise of the "
        'course, such as "3.2"'
    )


def _chapter(chapter: str) -> dict[str, Exercise]:
    name = f"minidiff.check.ex{chapter}"
    if find_spec(name) is None:
        return {}
    return {e.id: e for e in import_module(name).EXERCISES}
