"""A Sphinx extension: what the site has beyond Jupyter Book's pages."""

from typing import Any

from website import (
    access,
    address,
    api,
    exercises,
    gallery,
    lite,
    preview,
    search,
)


def configure(app: Any, config: Any) -> None:
    """Set what depends on the repository's address, and theme options."""
    address.configure(config, address.read())
    # Exercises are headings of the third level; the contents show them.
    config.html_theme_options["show_toc_level"] = 2
    config.html_show_search_summary = False


def setup(app: Any) -> dict[str, bool]:
    """Register everything with Sphinx."""
    app.connect("config-inited", configure)
    app.connect("source-read", api.fill)
    app.connect("doctree-read", exercises.add_to_page)
    app.connect("doctree-read", lite.add_button)
    app.connect("doctree-resolved", exercises.link_list)
    app.connect("doctree-resolved", gallery.fill)
    app.connect("html-page-context", preview.add_tags)
    app.connect("html-page-context", search.add_scripts)
    app.connect("html-page-context", lite.add_script)
    # After the theme, which makes the sidebar at priority 500.
    app.connect("html-page-context", access.repair, priority=900)
    # Before Jupyter Book's own, at priority 500, which keeps what is there.
    app.connect("build-finished", preview.write_front, priority=400)
    app.connect("build-finished", search.write)
    app.connect("build-finished", lite.write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
