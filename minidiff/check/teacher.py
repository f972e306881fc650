"""Table of results for the notebooks of a class, which it runs."""

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from minidiff.check import exercises
from minidiff.files.extras import need

CELL_SECONDS = 600.0
BYTES = 50_000_000  # of a notebook's file
_SIGNS = {"passed": "yes", "failed": "no", "not attempted": "-"}
_Cells = list[tuple[str, bool]]


@dataclass(frozen=True, kw_only=True)
class Row:
    """Row of the table: a notebook, {exercise: status}, and what is wrong."""

    path: Path
    found: dict[str, str]
    problem: str

    @property
    def good(self) -> bool:
        """Tell whether something passed, and nothing failed or went wrong."""
        statuses = self.found.values()
        passed = "passed" in statuses and "failed" not in statuses
        return passed and not self.problem


def main(paths: Sequence[str | Path], timeout: float = CELL_SECONDS) -> int:
    """Run each notebook and print a row of results for it.

    Stored outputs are ignored. All notebooks are read before the first one
    runs. Each runs in a process and a new folder of its own, but with your
    permissions: book/for_teachers.md says what is protected and what is not.
    ``timeout`` is the limit for one cell, in seconds.

    Returns 0 if every notebook ran to its end, had an answer, and had no
    wrong one; else 1, or 130 after Ctrl-C, which still prints the table.
    """
    notebooks = [(Path(path), *_read(Path(path))) for path in paths]
    rows: list[Row] = []
    try:
        for path, cells, problem in notebooks:
            found: dict[str, str] = {}
            if not problem:
                found, problem = _run(path, cells, timeout)
            rows.append(Row(path=path, found=found, problem=problem))
    except KeyboardInterrupt:
        rows += [
            Row(path=path, found={}, problem="interrupted")
            for path, *_ in notebooks[len(rows) :]
        ]
        _print(rows)
        return 130
    _print(rows)
    return int(not all(row.good for row in rows))


def grade(
    path: str | Path, timeout: float = CELL_SECONDS
) -> tuple[dict[str, str], str]:
    """Run one notebook; return {exercise: status} and what went wrong.

    Every exercise of the chapter or problem set is listed; its status is ""
    if its check never ran. If a cell fails, the next ones run all the same.
    """
    cells, problem = _read(Path(path))
    return ({}, problem) if problem else _run(Path(path), cells, timeout)


def _read(path: Path) -> tuple[_Cells, str]:
    """Return the code cells of a notebook, or why it cannot be read.

    A cell is its source, and whether it may raise an error.
    """
    for package in ("nbformat", "nbclient", "ipykernel"):
        need(package, "minidiff check")
    import nbformat

    try:
        # A pipe or a device would never end.
        if path.exists() and not path.is_file():
            return [], "not readable as a notebook: not a regular file"
        if path.stat().st_size > BYTES:
            return [], f"not readable as a notebook: over {BYTES:,} bytes"
        text = path.read_text(encoding="utf-8-sig")
        notebook = nbformat.reads(text, as_version=4)
        return [
            (
                str(cell.source),
                "raises-exception" in cell.metadata.get("tags", []),
            )
            for cell in notebook.cells
            if cell.cell_type == "code"
        ], ""
    except Exception as error:
        return [], f"not readable as a notebook: {type(error).__name__}"


def _run(
    path: Path, cells: _Cells, timeout: float
) -> tuple[dict[str, str], str]:
    from minidiff.check import grading

    found = dict.fromkeys(exercises(set_name(path)), "")
    result = grading.Grade()
    try:
        grading.run(result, cells, timeout)
    except Exception as error:
        result.say(f"stopped: {type(error).__name__}: {error}")
    found |= result.found
    if not {"passed", "failed"} & set(found.values()):
        result.say("nothing attempted")
    more = len(result.problems) - 1
    problem = result.problems[0] if result.problems else ""
    return found, problem + (f", and {more} more" if more > 0 else "")


def _print(rows: list[Row]) -> None:
    columns = sorted({i for row in rows for i in row.found}, key=_place)
    # Students' files may have equal names in different folders.
    names = [row.path.name for row in rows]
    if len(set(names)) < len(names):
        names = [str(row.path) for row in rows]
    names = [_one_line(name) for name in names]
    width = max(len(name) for name in ["notebook", *names])
    print("notebook".ljust(width), *(i.rjust(5) for i in columns))
    for name, row in zip(names, rows, strict=True):
        signs = (_SIGNS.get(row.found.get(i, ""), "?") for i in columns)
        print(name.ljust(width), *(s.rjust(5) for s in signs), end="")
        print(f"  {_one_line(row.problem)}" if row.problem else "")
    print("yes: passed, no: failed, -: not attempted, ?: check not run")


def _one_line(text: str) -> str:
    """Return text for one line of a terminal, which a student may choose.

    Line breaks, control characters and what stdout cannot encode are written
    as in Python's literals; a long text is cut.
    """
    text = text if len(text) <= 200 else f"{text[:200]}..."
    encoding = sys.stdout.encoding or "utf-8"
    text = text.encode(encoding, "backslashreplace").decode(encoding)
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def set_name(path: str | Path) -> str:
    """Return the set that a notebook belongs to by its name, or "".

    "03" for 03_ada.ipynb, "P1" for part_1_ada.ipynb.
    """
    match = re.match(r"(\d\d)|part_(\d)", Path(path).name)
    if not match:
        return ""
    return match[1] or f"P{match[2]}"


def _place(exercise_id: str) -> tuple[bool, list[int]]:
    """Return the sort key of a column: chapters first, then problem sets."""
    numbers = [int(n) for n in re.findall(r"\d+", exercise_id)]
    return exercise_id.startswith("P"), numbers
