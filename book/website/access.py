"""What the theme leaves out for people who do not see or point."""

import re
from typing import Any

CORNER = '<th class="head"><p></p></th>'
LABEL = "Show or hide the pages of this section"
BOX = '<div class="cell_output docutils container"'
# The output of a cell, where a figure comes before the next cell begins.
WITH_FIGURE = re.compile(
    re.escape(BOX) + r">(?=(?:(?!<div class=\"cell ).)*?<img )", re.DOTALL
)


def repair(
    app: Any, page: str, template: str, context: dict, doctree: Any
) -> None:
    """Name the sidebar's arrows; let keys reach figures, which may scroll.

    An empty corner of a table heads nothing.
    """
    contents = context.get("generate_toctree_html")
    if contents is not None:

        def named(*args: Any, **options: Any) -> str:
            made = str(contents(*args, **options))
            return made.replace("<summary>", f'<summary aria-label="{LABEL}">')

        context["generate_toctree_html"] = named
    if "body" in context:
        body = context["body"].replace(CORNER, "<td></td>")
        context["body"] = WITH_FIGURE.sub(
            f'{BOX} role="group" aria-label="Figure" tabindex="0">', body
        )
