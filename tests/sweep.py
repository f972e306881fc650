"""Sweep of the checks: each solution with one thing changed must fail.

    python tests/sweep.py 3.2 22       exercise 3.2, and all of chapter 22
    python tests/sweep.py              every exercise; hours
    python tests/sweep.py --unnamed 22 print also mutants without a message

Each line of the table is one exercise:

    mutants    solutions with one change (tests/mutants.py)
    survived   passed the check; each is printed as the line that changed.
               Judge it: either no admissible input tells it from the
               solution, or the check needs another case
    diagnosed  failed, with the diagnosis of a known mistake
    told       failed, with another specific message: an exception and its
               line, a shape, a kind or dtype, NaN, a changed argument
    compared   failed, with a general description of how the numbers differ
               from the expected ones (minidiff/check/differences/)
    unnamed    failed, and only two unequal numbers were shown
    named      share of the failed ones that are diagnosed or told
    described  share of the failed ones that are diagnosed, told or compared

The aim: every survivor equivalent, and 90 % of the failed ones described.
"""

import argparse
import inspect
import time
import warnings
from collections.abc import Iterator
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import import_module
from io import StringIO
from itertools import zip_longest
from types import ModuleType
from typing import Any
from unittest.mock import patch

from mutants import mutants, plain

from minidiff import check
from minidiff.check import boundary
from minidiff.check.compare import source_of
from minidiff.check.core import Case, Exercise, Result, known_outcome
from minidiff.check.core import check as run_check
from minidiff.check.edited import from_source

MEMORY = 16 << 30  # bytes; more is a MemoryError, which fails the mutant


@dataclass
class Count:
    """Mutants of one exercise, by what the check said of them."""

    diagnosed: int = 0
    told: int = 0
    compared: list[str] = field(default_factory=list)
    unnamed: list[str] = field(default_factory=list)
    survived: list[str] = field(default_factory=list)

    @property
    def failed(self) -> int:
        named = self.diagnosed + self.told
        return named + len(self.compared) + len(self.unnamed)

    def __add__(self, other: "Count") -> "Count":
        return Count(
            self.diagnosed + other.diagnosed,
            self.told + other.told,
            self.compared + other.compared,
            self.unnamed + other.unnamed,
            self.survived + other.survived,
        )

    def row(self, name: str) -> str:
        named = self.diagnosed + self.told
        described = named + len(self.compared)
        failed = max(self.failed, 1)
        return (
            f"{name:8} {self.failed + len(self.survived):7} "
            f"{len(self.survived):9} {self.diagnosed:10} {self.told:5} "
            f"{len(self.compared):9} {len(self.unnamed):8} "
            f"{named / failed:6.0%} {described / failed:10.0%}"
        )


def sweep(exercise: Exercise) -> Count:
    """Check every mutant of an exercise's solution.

    It runs within the check's own boundary, for at most ten times as long as
    the solution, and two seconds at least.
    """
    # Cases, and what is known of them, are computed once and not for each
    # mutant.
    exercise = replace(exercise, cases=cache(exercise.cases))
    outcomes: dict[tuple[Any, str], Any] = {}

    def known(exercise: Exercise, answer: Any, case: Case) -> Any:
        key = answer, case.name
        if key not in outcomes:
            outcomes[key] = known_outcome(exercise, answer, case)
        return outcomes[key]

    source = source_of(exercise.solution)
    start = time.monotonic()
    with redirect_stdout(StringIO()):
        right = run_check(exercise, exercise.solution, known)
    assert right, right.text
    limit = max(2.0, 10 * (time.monotonic() - start))
    count = Count()
    for text in mutants(source, _modules(exercise.solution)):
        with redirect_stdout(StringIO()):
            result = _checked(exercise, text, known, limit)
        line = changed_line(plain(source), text)
        if result:
            count.survived.append(line)
        elif result.mistake is not None:
            count.diagnosed += 1
        elif result.described:
            said = result.text.partition("  compared")[2].partition("  more")
            count.compared.append(f"{line}\n      {said[0].strip()}")
        elif "diagnosis none" in result.text:
            count.unnamed.append(line)
        else:
            count.told += 1
    return count


def _checked(
    exercise: Exercise, text: str, known: Any, limit: float
) -> Result:
    """Check a mutant; one that cannot even be defined fails as well."""
    try:
        answer = from_source(exercise.solution, text)
    except Exception as error:
        return Result(id=exercise.id, status="failed", text=str(error))
    with patch.object(boundary, "SECONDS", limit):
        return run_check(exercise, answer, known)


def _modules(solution: Any) -> set[str]:
    place = vars(inspect.getmodule(getattr(solution, "fn", solution)))
    return {name for name, x in place.items() if isinstance(x, ModuleType)}


def changed_line(old: str, new: str) -> str:
    """Return the first line in which two sources differ, old and new."""
    lines = [text.splitlines() for text in (old, new)]
    a, b = next(
        pair
        for pair in zip_longest(*lines, fillvalue="")
        if len(set(pair)) > 1
    )
    return f"    - {a.strip()}\n    + {b.strip()}"


def _exercises(names: list[str]) -> Iterator[Exercise]:
    """Yield exercises by their ids (3.2) or sets (03, 3, P1)."""
    for name in names or check.sets():
        module = import_module(f"minidiff.check.ex{check.set_of(name)}")
        chapter = "." not in name
        found = [e for e in module.EXERCISES if chapter or e.id == name]
        if not found:
            raise SystemExit(f"got {name}, expected an exercise or a chapter")
        yield from found


def main() -> None:
    """Print one row for each exercise, and the survivors below it."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--unnamed", action="store_true", help="print them, like survivors"
    )
    parser.add_argument(
        "--compared", action="store_true", help="print them, and what was said"
    )
    parser.add_argument(
        "exercises", nargs="*", help="3.2, or all of a set: 3, P1"
    )
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    with suppress(ImportError):  # Windows has no such limit
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    print(
        "exercise mutants  survived  diagnosed  told  compared  unnamed  "
        "named  described"
    )
    total = Count()
    for exercise in _exercises(options.exercises):
        count = sweep(exercise)
        total += count
        print(count.row(exercise.id), flush=True)
        for line in count.survived:
            print(f"  survived\n{line}", flush=True)
        for line in count.compared if options.compared else ():
            print(f"  compared\n{line}", flush=True)
        for line in count.unnamed if options.unnamed else ():
            print(f"  unnamed\n{line}", flush=True)
    print(total.row("all"))


if __name__ == "__main__":
    main()
