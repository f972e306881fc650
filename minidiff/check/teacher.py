"""Table of results for the notebooks of a class, which it runs."""

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from minidiff.check import exercises, kept
from minidiff.files.extras import need

_SIGNS = {"passed": "yes", "failed": "no", "not attempted": "-"}


def main(paths: Sequence[str | Path], timeout: float = 600.0) -> int:
    """Run each notebook and print a row of results for it.

    Stored outputs are ignored. The code in the notebooks runs on this
    machine with your permissions, so run notebooks that you do not trust in
    isolation. Returns 0 if every notebook ran to its end, else 1.
    ``timeout`` is the limit for one cell, in seconds.
    """
    rows = [(Path(path), *grade(path, timeout)) for path in paths]
    columns = sorted({i for _, found, _ in rows for i in found}, key=_place)
    # Students' files may have equal names in different folders.
    names = [path.name for path, _, _ in rows]
    if len(set(names)) < len(names):
        names = [str(path) for path, _, _ in rows]
    width = max(len(name) for name in ["notebook", *names])
    print("notebook".ljust(width), *(i.rjust(5) for i in columns))
    for name, (_, found, problem) in zip(names, rows, strict=True):
        signs = (_SIGNS.get(found.get(i, ""), "?") for i in columns)
        print(name.ljust(width), *(s.rjust(5) for s in signs), end="")
        print(f"  {problem}" if problem else "")
    print("yes: passed, no: failed, -: not attempted, ?: check not run")
    return int(any(problem for _, _, problem in rows))


def grade(
    path: str | Path, timeout: float = 600.0
) -> tuple[dict[str, str], str]:
    """Run one notebook; return {exercise: status} and what went wrong.

    Every exercise of the chapter or problem set is listed; its status is ""
    if its check never ran. If a cell fails, the next ones run all the same.
    """
    for package in ("nbformat", "nbclient", "ipykernel"):
        need(package, "minidiff check")
    import nbformat
    from nbclient import NotebookClient

    try:
        notebook = nbformat.read(path, as_version=4)
    except Exception as error:
        return {}, f"not readable as a notebook: {type(error).__name__}"
    found = dict.fromkeys(exercises(set_name(path)), "")
    notebook.cells.append(
        nbformat.v4.new_code_cell("from minidiff import check; check.report()")
    )
    client = NotebookClient(
        notebook, timeout=timeout, allow_errors=True, kernel_name="python3"
    )
    try:
        # Neither store students' answers nor read the teacher's own.
        client.execute(env=os.environ | {kept.VARIABLE: ""})
        outputs = notebook.cells[-1].outputs
        text = "".join(o.get("text", "") for o in outputs)
        found |= json.loads(text.splitlines()[-1])
    except Exception as error:
        return found, f"stopped: {type(error).__name__}"
    return found, _first_error(notebook.cells)


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


def _first_error(cells: list[Any]) -> str:
    for cell in cells:
        for output in cell.get("outputs", []):
            tags = cell.metadata.get("tags", [])
            if (
                output.output_type == "error"
                and "raises-exception" not in tags
            ):
                return f"a cell raised {output.ename}"
    return ""
