"""The table of all exercises in book/exercises.md, made from the checks."""

import sys
from importlib import import_module
from pathlib import Path

from minidiff import check
from minidiff.check.teacher import set_name

BEGIN, END = "% exercises:begin", "% exercises:end"


def table(root: Path) -> str:
    """One row for each exercise: chapters first, then problem sets."""
    rows = ["| exercise | subject | where |", "|---|---|---|"]
    chapters = sorted((root / "book" / "chapters").glob("[0-9]*.py"))
    problems = sorted((root / "book" / "problems").glob("part_*.py"))
    for script in (*chapters, *problems):
        name = set_name(script.name)
        if not check.exercises(name):
            continue
        folder = "notebooks" if script in chapters else "exercises"
        title = name.replace("P", "problem set ")
        link = f"[{title}](../{folder}/{script.stem}.ipynb)"
        for exercise in import_module(f"minidiff.check.ex{name}").EXERCISES:
            # "Exercise 3.1: the difference of two softmaxes."
            about = sys.modules[exercise.solution.__module__].__doc__ or ""
            subject = about.splitlines()[0].partition(": ")[2].rstrip(".")
            rows.append(f"| {exercise.id} | {subject} | {link} |")
    return "\n".join(rows)


def updated(root: Path) -> str:
    """The page's text with the table as it should be."""
    text = (root / "book" / "exercises.md").read_text(encoding="utf-8")
    head, _, rest = text.partition(BEGIN)
    tail = rest.partition(END)[2]
    return f"{head}{BEGIN}\n\n{table(root)}\n\n{END}{tail}"


def update(root: Path) -> None:
    """Rewrite the page if its table is out of date."""
    page, text = root / "book" / "exercises.md", updated(root)
    if page.read_text(encoding="utf-8") != text:
        part = page.with_suffix(".part")
        part.write_text(text, encoding="utf-8")
        part.replace(page)
