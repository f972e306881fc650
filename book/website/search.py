"""Excerpts for the page of search results, from the text of the pages.

Sphinx fetches a page to show an excerpt of it, which does not work for a site
opened as a file, and shows labels of buttons as text. Here the text of all
pages stands in one script, which only the search page loads.
"""

import json
from pathlib import Path
from typing import Any

from docutils import nodes

FILE = "excerpts.js"
TEXT = (nodes.paragraph, nodes.term, nodes.caption)


def is_prose(node: nodes.Node) -> bool:
    """Say whether a node is running text: no hint, output or table."""
    while node.parent is not None:
        node = node.parent
        if isinstance(node, nodes.container | nodes.table):
            return False
    return True


def sections(doctree: nodes.document) -> list[list[str]]:
    """Return the anchor and the text of each section, without subsections."""
    found = []
    for section in doctree.findall(nodes.section):
        texts = [
            " ".join(part.astext().split())
            for part in section.findall(lambda node: isinstance(node, TEXT))
            if _section_of(part) is section and is_prose(part)
        ]
        if texts:
            found.append([section["ids"][0], " ".join(texts)])
    return found


def _section_of(node: nodes.Node) -> nodes.Node | None:
    while node is not None and not isinstance(node, nodes.section):
        node = node.parent
    return node


def write(app: Any, error: Exception | None) -> None:
    """Write the text of all pages beside the search page."""
    if error is not None or app.builder.format != "html":
        return
    pages = {
        name: sections(app.env.get_doctree(name))
        for name in sorted(app.env.found_docs)
    }
    text = json.dumps(pages, ensure_ascii=False, separators=(",", ":"))
    path = Path(app.outdir, "_static", FILE)
    path.write_text(f"window.EXCERPTS={text};\n", encoding="utf-8")


def add_scripts(
    app: Any, page: str, template: str, context: dict, doctree: Any
) -> None:
    """Load both scripts on the page of search results, and nowhere else."""
    if page == "search":
        app.add_js_file(FILE)
        app.add_js_file("search.js")
