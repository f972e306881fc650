"""Exercises that have passed: kept in a file, counted, shown as a table.

The file is in the folder of the kept answers, which git ignores. Nothing is
counted where no answers are kept.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path

from minidiff.course.parts import PARTS, Part, part_of
from minidiff.files.json import read_json, write_json
from minidiff.files.schema import fields, map_of, text

FILE_NAME = "progress.json"
FILE = fields({"passed": map_of(text)})

Sets = Mapping[str, Sequence[str]]
"""The exercises of each chapter and problem set: {"03": ["3.1", ...]}."""


def passed(folder: Path) -> set[str]:
    """Return the exercises that have passed.

    Raises ValueError, naming the file, if it cannot be read.
    """
    return set(_read(folder / FILE_NAME))


def note(folder: Path, exercise_id: str) -> bool:
    """Write down that an exercise passed; tell whether that is new.

    Raises ValueError if the file cannot be read, OSError if not written.
    """
    path = folder / FILE_NAME
    days = _read(path)
    if exercise_id in days:
        return False
    days[exercise_id] = date.today().isoformat()
    write_json(path, {"passed": days})
    return True


def _read(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    expected = "what minidiff.check writes; remove it to begin again"
    days: dict[str, str] = read_json(path, FILE, expected)["passed"]
    return days


def after_check(
    folder: Path, exercise_id: str, name: str, sets: Sets, is_right: bool
) -> str:
    """Return the tally of the exercise's set, ``name``, after its check.

    A line for the milestone follows if this was the last one of a part.
    """
    try:
        is_new = is_right and note(folder, exercise_id)
        done = passed(folder)
    except (OSError, ValueError) as error:
        return f"progress is not kept: {error}"
    tally = f"{_count(done, sets[name])} in {titled(name)}"
    part = part_of(name)
    if is_new and name in part.chapters and _is_done(part, done, sets):
        return f"{tally}\n{_milestone(part)}"
    return tally


def titled(name: str) -> str:
    """Return "chapter 3" for "03" and "problem set 1" for "P1"."""
    if name.startswith("P"):
        return f"problem set {name[1:]}"
    return f"chapter {int(name)}"


def table(done: set[str], sets: Sets) -> str:
    """Return the whole course: each part, its sets, and what is left."""
    every = [i for ids in sets.values() for i in ids]
    lines = [f"{_count(done, every)} exercises of the course"]
    for part in PARTS:
        names = [n for n in (*part.chapters, part.problems) if n in sets]
        if not names:
            continue
        ids = [i for name in names for i in sets[name]]
        lines += ["", f"Part {part.name:19} {_count(done, ids):>8}"]
        for name in names:
            left = [i for i in sets[name] if i not in done]
            row = f"  {titled(name):22} {_count(done, sets[name]):>8}"
            if left and len(left) < len(sets[name]):
                row += f"  left: {', '.join(left)}"
            lines.append(row)
        if _is_done(part, done, sets):
            lines.append(f"  {_milestone(part)}")
    return "\n".join(lines)


def _count(done: set[str], ids: Sequence[str]) -> str:
    return f"{len(done.intersection(ids))} of {len(ids)}"


def _is_done(part: Part, done: set[str], sets: Sets) -> bool:
    ids = {i for name in part.chapters for i in sets.get(name, ())}
    return bool(ids) and ids <= done


def _milestone(part: Part) -> str:
    return f"Part {part.name} is done: {part.milestone}"
