"""Table of all exercises in book/exercises.md, made from the checks."""

from pathlib import Path

from builder.guard import replace
from minidiff import check
from minidiff.check.teacher import set_name

BEGIN, END = "% exercises:begin", "% exercises:end"


def table(root: Path) -> str:
    """Return a table with a row per exercise, chapters before problem sets."""
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
        for exercise_id in check.exercises(name):
            subject = check.subjects()[exercise_id].rstrip(".")
            rows.append(f"| {exercise_id} | {subject} | {link} |")
    return "\n".join(rows)


def updated(root: Path) -> str:
    """Return the page's text with an up-to-date table.

    Raises ValueError if the page lacks the lines that enclose the table.
    """
    text = (root / "book" / "exercises.md").read_text(encoding="utf-8")
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not (begin and end):
        raise ValueError(
            f"book/exercises.md: expected the lines {BEGIN!r} and {END!r}, "
            "with nothing typed between them"
        )
    return f"{head}{BEGIN}\n\n{table(root)}\n\n{END}{tail}"


def update(root: Path) -> None:
    """Rewrite the page if its table is out of date."""
    page, text = root / "book" / "exercises.md", updated(root)
    if page.read_text(encoding="utf-8") != text:
        replace(page, text.encode())
