"""Card at the top of a chapter: minutes to read, to solve and to run.

Nothing on it is written by hand. The reading time is computed from the source
by `reading_minutes`, and the time to solve is the sum of the labels of the
exercises ("*Easy, 5 minutes.*"). The run time is measured when the chapter is
executed, and rounded coarsely so that it rarely changes between builds.
"""

import json
import math
import re
from pathlib import Path

from nbformat import NotebookNode

from builder.guard import read_object, replace

PLACEHOLDER = "{card}"

# Careful reading of technical prose: about 130 words a minute. A line of code
# takes about 6 seconds.
WORDS_PER_MINUTE = 130
SECONDS_PER_CODE_LINE = 6
# What stands below such a heading is counted by itself.
OPTIONAL = re.compile(r"(?m)^## Optional\b")
LABEL = re.compile(r"\*(?:Easy|Medium|Hard), (\d+) minutes\b")

# Upper edges of the buckets in seconds, coarse on purpose.
BUCKETS = {
    10: "under 10 seconds",
    30: "under 30 seconds",
    60: "under 1 minute",
    120: "under 2 minutes",
    180: "under 3 minutes",
    240: "under 4 minutes",
    360: "under 6 minutes",
    600: "under 10 minutes",
    1800: "under 30 minutes",
}


def reading_minutes(nb: NotebookNode) -> int:
    """Return the minutes to read prose and code, a multiple of five.

    Folded code is not counted, because a reader need not open it.
    """
    words = lines = 0
    for cell in nb.cells:
        if cell.cell_type == "markdown":
            words += len(cell.source.split())
        elif "hide-input" not in cell.metadata.get("tags", ()):
            lines += sum(bool(x.strip()) for x in cell.source.splitlines())
    minutes = words / WORDS_PER_MINUTE + lines * SECONDS_PER_CODE_LINE / 60
    return max(5, 5 * math.ceil(minutes / 5))


def solving_minutes(nb: NotebookNode) -> int:
    """Return the sum of the exercises' labels; 0 if all are filled in."""
    if not any("# your code" in cell.source for cell in nb.cells):
        return 0
    return sum(
        int(minutes)
        for cell in nb.cells
        if cell.cell_type == "markdown"
        for minutes in LABEL.findall(cell.source)
    )


def _divided(nb: NotebookNode) -> tuple[NotebookNode, NotebookNode | None]:
    """Return the cells before the first optional section, and the others."""
    for i, cell in enumerate(nb.cells):
        if cell.cell_type == "markdown" and OPTIONAL.match(cell.source):
            parts = [nb.copy(), nb.copy()]
            parts[0].cells, parts[1].cells = nb.cells[:i], nb.cells[i:]
            return parts[0], parts[1]
    return nb, None


def bucket(seconds: float, before: int | None = None) -> int:
    """Return the upper edge of the bucket that `seconds` falls into.

    The recorded bucket `before` is kept if the time is between 0.7 times its
    lower edge and its upper edge: two runs on one machine can differ by a
    third, and the committed card should not change with each build.
    """
    edges = sorted(BUCKETS)
    if before in BUCKETS:
        i = edges.index(before)
        lower = edges[i - 1] if i else 0
        if 0.7 * lower <= seconds < before:
            return before
    for edge in edges:
        if seconds < edge:
            return edge
    raise ValueError(
        f"seconds: expected under {edges[-1]}, got {seconds:.0f}: "
        "too long for a notebook"
    )


def text(nb: NotebookNode, timing: dict[str, int]) -> str:
    """Return the line that replaces the placeholder.

    `timing` has "under" (a key of `BUCKETS`, in seconds) and "threads".
    """
    cores = "one CPU core" if timing["threads"] == 1 else "two CPU cores"
    main, optional = _divided(nb)
    solving = solving_minutes(main)
    exercises = f"Exercises: about {solving} more. " if solving else ""
    if optional is not None:
        minutes = reading_minutes(optional) + solving_minutes(optional)
        exercises += f"Optional sections: about {minutes} more. "
    return (
        f"*Reading: about {reading_minutes(main)} minutes. {exercises}"
        f"Running every cell: {BUCKETS[timing['under']]} on {cores}, "
        "without a GPU and without a network.*"
    )


def fill(nb: NotebookNode, timing: dict[str, int]) -> None:
    """Replace the placeholder in the first Markdown cell, in place."""
    for cell in nb.cells:
        if cell.cell_type == "markdown":
            line = text(nb, timing)
            cell.source = cell.source.replace(PLACEHOLDER, line)
            return


def load(path: Path) -> dict[str, dict[str, int]]:
    """Read the recorded timings: {chapter: {"under": s, "threads": n}}.

    Raises ValueError, naming the file, if it holds anything else.
    """
    advice = "restore it with git, or delete it and build every notebook"
    found = read_object(path, advice)
    for name, timing in found.items():
        keys = {"under", "threads"}
        right = isinstance(timing, dict) and timing.keys() == keys
        if not right or not all(type(x) is int for x in timing.values()):
            raise ValueError(f"{path}: {name}: got {timing!r}; {advice}")
    return found


def save(path: Path, timings: dict[str, dict[str, int]]) -> None:
    """Write the timings, sorted; the file appears complete or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    dump = json.dumps(timings, indent=1, sort_keys=True) + "\n"
    replace(path, dump.encode())
