"""Exercises on the site: a place to link to, and hints that fold out.

Below the check of an exercise stand its three hints and its solution, each
folded away. They come from the checks, so they are those of `hint(...)` and
`solution(...)`. Where Triton is missing, as on Windows, the exercises that
need it have none.
"""

import re
from typing import Any

from docutils import nodes

from minidiff import check

LIST = "book/exercises"
TITLE = re.compile(r"(?:Exercise|Problem) (P?\d+\.\d+):")


def anchor(exercise_id: str) -> str:
    """Return where links to an exercise land: "exercise-3-2" for "3.2"."""
    return "exercise-" + exercise_id.lower().replace(".", "-")


def checked_by(cell: nodes.container) -> str | None:
    """Return the exercise that a cell checks, from its tag, or None."""
    for name in cell.get("classes", []):
        if name.startswith("tag_check:"):
            return name.removeprefix("tag_check:")
    return None


def folded(summary: str, kind: str, *inside: nodes.Node) -> list[nodes.Node]:
    """Return nodes that fold away under one line."""
    head = f'<details class="{kind}"><summary>{summary}</summary>'
    return [
        nodes.raw("", head, format="html"),
        *inside,
        nodes.raw("", "</details>", format="html"),
    ]


def paragraph(text: str) -> nodes.paragraph:
    """Return a hint as a paragraph; `code` in it is set as code."""
    made = nodes.paragraph()
    for i, part in enumerate(text.split("`")):
        made += nodes.literal("", part) if i % 2 else nodes.Text(part)
    return made


def ladder(exercise_id: str) -> nodes.container:
    """Return the hints and the solution of an exercise, folded away.

    Raises ImportError if the exercise needs a package that is missing.
    """
    found = nodes.container(classes=["ladder"])
    hints = check.hints(exercise_id)
    for i, text in enumerate(hints, 1):
        title = f"Hint {i} of {len(hints)}"
        found += folded(f"{title} for {exercise_id}", "hint", paragraph(text))
    source = check.solution_source(exercise_id)
    code = nodes.literal_block(source, source, language="python")
    found += folded(f"Solution of {exercise_id}", "solution", code)
    return found


def add_to_page(app: Any, doctree: nodes.document) -> None:
    """Give each exercise of a page that was read its anchor and its ladder."""
    for section in doctree.findall(nodes.section):
        title = TITLE.match(section.next_node(nodes.title).astext())
        if title:
            section["ids"].append(anchor(title[1]))
    if "/solutions/" in app.env.docname:
        return
    for cell in list(doctree.findall(nodes.container)):
        exercise_id = checked_by(cell)
        if exercise_id is None:
            continue
        try:
            steps = ladder(exercise_id)
        except ImportError:
            continue
        cell.parent.insert(cell.parent.index(cell) + 1, steps)


def link_list(app: Any, doctree: nodes.document, page: str) -> None:
    """Let the links in the list of exercises land on the exercises."""
    if page != LIST:
        return
    for row in doctree.findall(nodes.row):
        exercise_id = row[0].astext()
        if exercise_id in check.subjects():
            for link in row[-1].findall(nodes.reference):
                link["refuri"] += f"#{anchor(exercise_id)}"
