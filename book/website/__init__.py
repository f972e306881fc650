"""A Sphinx extension: what the site has beyond Jupyter Book's pages."""

from typing import Any

from website import address, preview


def configure(app: Any, config: Any) -> None:
    """Set what depends on the repository's address."""
    address.configure(config, address.read())


def setup(app: Any) -> dict[str, bool]:
    """Register everything with Sphinx."""
    app.connect("config-inited", configure)
    app.connect("html-page-context", preview.add_tags)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
