"""Link previews: what a chat or a post shows of a shared link.

Each page has a title, a sentence and a picture. At the site's address itself
stands a page that only redirects; it has the tags of the home page.
"""

import html
from pathlib import Path
from typing import Any

from docutils import nodes

PICTURE = "_static/preview.png"
PICTURE_SIZE = 1200, 630  # width and height, in pixels
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

    ``page`` is the page's path below the address, such as "book/intro.html".

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
        found["og:url"] = f"{base}{page}"
        found["og:image"] = f"{base}{PICTURE}"
        width, height = map(str, PICTURE_SIZE)
        found |= {"og:image:width": width, "og:image:height": height}
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
    if page in app.env.titles:
        made = _tags_of(app, page, doctree, f"{page}.html")
        context["metatags"] = context.get("metatags", "") + made


def _tags_of(app: Any, page: str, doctree: Any, path: str) -> str:
    title = app.env.titles[page].astext()
    return tags(title, sentence(doctree), path, app.config.html_baseurl or "")


FRONT = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8" />
<title>{title}</title>
{tags}
<meta http-equiv="Refresh" content="0; url={page}.html" />
</head>
<body><a href="{page}.html">{title}</a></body>
</html>
"""


def write_front(app: Any, exception: Exception | None) -> None:
    """Write index.html, before sphinx_external_toc writes one without tags."""
    if exception is not None or app.builder.format != "html":
        return
    home = app.config.master_doc
    text = FRONT.format(
        title=html.escape(app.env.titles[home].astext()),
        tags=_tags_of(app, home, app.env.get_doctree(home), ""),
        page=home,
    )
    Path(app.outdir, "index.html").write_text(text, encoding="utf-8")
