"""The gallery: every figure of the chapters, each with a link to its place."""

import html
import re
from collections.abc import Iterator
from typing import Any

from docutils import nodes

PAGE, MARK = "book/gallery", "gallery:here"


def pages(env: Any) -> Iterator[str]:
    """Yield the chapters in the order of their numbers."""
    for name in sorted(env.found_docs):
        if re.match(r"notebooks/\d\d_", name):
            yield name


def figures(env: Any, page: str) -> Iterator[tuple[nodes.section, str, str]]:
    """Yield section, file and description of each figure of a page."""
    for image in env.get_doctree(page).findall(nodes.image):
        section: Any = image
        while not isinstance(section, nodes.section):
            section = section.parent
        if image.get("alt") and image["uri"] in env.images:
            yield section, env.images[image["uri"]][1], image["alt"]


def shelf(env: Any, page: str) -> str:
    """Return the figures of one chapter as HTML, or nothing without any."""
    found = []
    for section, file, alt in figures(env, page):
        title = section.next_node(nodes.title).astext()
        link = f"../{page}.html#{section['ids'][0]}"
        found.append(
            f'<figure><a href="{link}"><img loading="lazy" '
            f'src="../_images/{file}" alt="{html.escape(alt)}"></a>'
            f"<figcaption>{html.escape(title)}</figcaption></figure>"
        )
    if not found:
        return ""
    title = html.escape(env.titles[page].astext())
    return f'<h2>{title}</h2><div class="gallery">{"".join(found)}</div>'


def fill(app: Any, doctree: nodes.document, page: str) -> None:
    """Put the figures into their page."""
    if page != PAGE or app.builder.format != "html":
        return
    for comment in list(doctree.findall(nodes.comment)):
        if MARK in comment.astext():
            shelves = "\n".join(shelf(app.env, p) for p in pages(app.env))
            comment.replace_self(nodes.raw("", shelves, format="html"))
