"""What the theme leaves out for people who do not see or point."""

from typing import Any

CORNER = '<th class="head"><p></p></th>'
LABEL = "Show or hide the pages of this section"


def repair(
    app: Any, page: str, template: str, context: dict, doctree: Any
) -> None:
    """Name the sidebar's arrows; an empty corner of a table heads nothing."""
    contents = context.get("generate_toctree_html")
    if contents is not None:

        def named(*args: Any, **options: Any) -> str:
            made = str(contents(*args, **options))
            return made.replace("<summary>", f'<summary aria-label="{LABEL}">')

        context["generate_toctree_html"] = named
    if "body" in context:
        context["body"] = context["body"].replace(CORNER, "<td></td>")
