"""Conversion of a percent script in book/ to a notebook without outputs."""

import copy
import hashlib
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import jupytext
from nbformat import NotebookNode

STUB = "stub:"


def read(path: Path) -> NotebookNode:
    """Read a percent script as a notebook with stable cell ids."""
    text = path.read_text(encoding="utf-8")
    return from_text(text, where=str(path))


def from_text(text: str, where: str = "<text>") -> NotebookNode:
    """Like `read`, from a string; `where` is its name in error messages."""
    nb = jupytext.reads(text, fmt="py:percent")
    if not nb.cells:
        raise ValueError(f"{where}: expected `# %%` cells, found none")
    nb.nbformat, nb.nbformat_minor = 4, 5
    # Leave out versions, so that builds on other machines do not differ.
    nb.metadata = NotebookNode(
        kernelspec=NotebookNode(
            display_name="Python 3", language="python", name="python3"
        ),
        language_info=NotebookNode(name="python"),
    )
    for cell in nb.cells:
        cell.metadata.pop("lines_to_next_cell", None)
    give_ids(nb)
    return nb


def give_ids(nb: NotebookNode) -> None:
    """Name each cell by a hash of its source, so that ids are stable."""
    seen: Counter[str] = Counter()
    for cell in nb.cells:
        text = f"{cell.cell_type}\n{cell.source}".encode()
        name = hashlib.sha256(text).hexdigest()[:8]
        seen[name] += 1
        cell.id = name if seen[name] == 1 else f"{name}-{seen[name]}"


def sign_ids(nb: NotebookNode, page: str) -> None:
    """Prefix the cell ids with the page's name, to be unique on a website.

    Jupyter Book 2 reports an id that occurs on two pages as a broken label.
    """
    for cell in nb.cells:
        cell.id = f"{page.replace('/', '-')}-{cell.id}"


def tags(cell: NotebookNode) -> list[str]:
    """Return the cell's tags; an empty list if it has none."""
    return list(cell.metadata.get("tags", []))


def tagged(cell: NotebookNode, prefix: str) -> str | None:
    """Return the rest of the tag that starts with `prefix`, or None.

    For the prefix "stub:" and the tag "stub:3.2" this is "3.2".
    """
    for tag in tags(cell):
        if tag.startswith(prefix):
            return tag.removeprefix(prefix)
    return None


def fill(
    nb: NotebookNode, solution: Callable[[str], str]
) -> tuple[NotebookNode, list[str]]:
    """Put `solution(id)` into every stub cell.

    Returns the filled copy and the ids of the exercises, in order. The cells
    get new ids, because ids are hashes of the source.
    """
    nb = copy.deepcopy(nb)
    done = []
    for cell in nb.cells:
        name = tagged(cell, STUB)
        if name is not None:
            cell.source = solution(name).strip("\n")
            done.append(name)
    give_ids(nb)
    return nb, done


def as_solutions(nb: NotebookNode) -> None:
    """Turn a filled problem set into a page of solutions, in place.

    This changes its title, and its links, as it is one folder deeper.
    """
    for cell in nb.cells:
        if cell.cell_type == "markdown":
            cell.source = cell.source.replace("](../", "](../../")
    title = nb.cells[0]
    title.source = re.sub(r"\A# .*", r"\g<0> (solutions)", title.source)
    give_ids(nb)
