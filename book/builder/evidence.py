"""Tables of verdicts in book/evidence.md, made from the records."""

import json
from collections import Counter
from functools import cache
from pathlib import Path

from builder.claims import SECTIONS, Claim, Section
from builder.contrasts import (
    NOT_RUN,
    NOT_SEEN,
    SEEN,
    TOO_SMALL,
    Read,
    Record,
)
from builder.guard import replace

BEGIN, END = "% evidence:begin", "% evidence:end"
COLUMNS = (
    "claim, and what we compare",
    "the paper",
    "ours (95 % interval), seeds",
    "verdict",
    "record",
)


def reader(root: Path) -> Read:
    """Return a function that loads a record of book/results, or None."""

    @cache
    def read(name: str) -> Record | None:
        path = root / "book" / "results" / name
        return json.loads(path.read_text()) if path.exists() else None

    return read


def line(*cells: str) -> str:
    """Return a line of a table."""
    return f"| {' | '.join(cells)} |"


def row(claim: Claim, read: Read) -> str:
    """Return the row of a claim."""
    found = claim.comparison.find(read)
    word = found.verdict
    if word.startswith((SEEN, NOT_SEEN, TOO_SMALL)):
        word = f"**{word}**" + ("" if claim.fixed else ", exploratory")
    name = claim.comparison.record
    if read(name) is None:
        link = f"no `{name}`"
    else:
        link = f"[{name.removesuffix('.json')}](results/{name})"
    what = f"{claim.claim}: *{claim.compared}*"
    return line(what, claim.paper, str(found), word, link)


def table(section: Section, root: Path, read: Read) -> str:
    """Return the table of a chapter, with its heading and a link."""
    where = f"Chapter {section.chapter}"
    pattern = f"{section.chapter}_*.py"
    for script in (root / "book" / "chapters").glob(pattern):
        where = f"[{where}](../notebooks/{script.stem}.ipynb)"
    head = line(*COLUMNS), line(*("---" for _ in COLUMNS))
    rows = [row(claim, read) for claim in section.claims]
    return f"## {section.title}\n\n{where}.\n\n" + "\n".join([*head, *rows])


def summary(read: Read) -> str:
    """Return how often each verdict was given, and which records lack."""
    claims = [claim for section in SECTIONS for claim in section.claims]
    words = Counter(
        claim.comparison.find(read).verdict.partition(";")[0].partition(":")[0]
        for claim in claims
    )
    order = (SEEN, NOT_SEEN, TOO_SMALL, "none", NOT_RUN.verdict)
    said = ", ".join(f"*{word}* {words[word]}" for word in order)
    lacking = sorted(
        {
            f"`{claim.comparison.record}`"
            for claim in claims
            if read(claim.comparison.record) is None
        }
    )
    text = f"The verdicts of all {len(claims)} rows: {said}."
    if lacking:
        text += f"\nRecords that do not exist yet: {', '.join(lacking)}."
    return text


def updated(root: Path) -> str:
    """Return the page's text with up-to-date tables.

    Raises ValueError if the page lacks the lines that enclose the tables.
    """
    text = (root / "book" / "evidence.md").read_text(encoding="utf-8")
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not (begin and end):
        raise ValueError(
            f"book/evidence.md: expected the lines {BEGIN!r} and {END!r}, "
            "with nothing typed between them"
        )
    read = reader(root)
    parts = [summary(read), *(table(s, root, read) for s in SECTIONS)]
    made = "\n\n".join(parts)
    return f"{head}{BEGIN}\n\n{made}\n\n{END}{tail}"


def update(root: Path) -> None:
    """Rewrite the page if its tables are out of date."""
    page, text = root / "book" / "evidence.md", updated(root)
    if page.read_text(encoding="utf-8") != text:
        replace(page, text.encode())
