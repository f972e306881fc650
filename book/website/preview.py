"""What a shared link shows: a title, a sentence and a picture."""

import html
from typing import Any

from docutils import nodes

PICTURE = "_static/preview.png"
PICTURE_ALT = (
    "Two attention maps and their difference: in the difference one column, "
    "the needle, stands out"
)


def sentence(doctree: nodes.document | None) -> str:
    """Return the first paragraph of a page, at most 200 characters."""
    if doctree is None:
        return ""
    for paragraph in doctree.findall(nodes.paragraph):
        text = " ".join(paragraph.astext().split())
        if len(text) > 40 and not paragraph.next_node(nodes.image):
            return text if len(text) <= 200 else text[:199] + "…"
    return ""


def tags(title: str, text: str, page: str, base: str) -> str:
    """Return the meta tags of a page; base is the site's address or empty.

    A picture's address has to be a whole one, so there is none without base.
    """
    found = {
        "og:type": "website",
        "og:title": title,
        "og:description": text,
        "description": text,
        "twitter:card": "summary_large_image" if base else "summary",
    }
    if base:
        found["og:url"] = f"{base}{page}.html"
        found["og:image"] = f"{base}{PICTURE}"
        found["og:image:alt"] = PICTURE_ALT
    lines = [
        f'<meta {_kind(name)}="{name}" content="{html.escape(value)}" />'
        for name, value in found.items()
        if value
    ]
    return "\n".join(lines)


def _kind(name: str) -> str:
    return "property" if name.startswith("og:") else "name"


def add_tags(
    app: Any, page: str, template: str, context: dict, doctree: Any
) -> None:
    """Add the meta tags to a page that is being written."""
    title = app.env.titles[page].astext() if page in app.env.titles else ""
    if title:
        text = sentence(doctree)
        made = tags(title, text, page, app.config.html_baseurl or "")
        context["metatags"] = context.get("metatags", "") + made
