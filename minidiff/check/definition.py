"""Definition of an exercise: cases, solution, known mistakes."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from minidiff.check.outcome import Outcome, outcome_of


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

    def outcome(
        self, answer: Callable[..., Any], args: tuple[Any, ...]
    ) -> Outcome | None:
        """Return the outcome of an answer; raises what the answer raises."""
        return outcome_of(self.run, answer, args)

    def result_names(self, count: int) -> tuple[str, ...]:
        """Return the names of ``count`` results."""
        return self.results or tuple(f"number {n + 1}" for n in range(count))


def known_outcome(
    exercise: Exercise, answer: Callable[..., Any], case: Case
) -> Outcome | Exception | None:
    """Return the outcome of the solution or a known mistake, or its error."""
    try:
        return exercise.outcome(answer, case.args)
    except Exception as error:
        return error.with_traceback(None)


Known = Callable[
    [Exercise, Callable[..., Any], Case], Outcome | Exception | None
]
