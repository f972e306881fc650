"""Chapters that run in the reader's browser, with JupyterLite.

The first chapters need NumPy and Matplotlib and no PyTorch. The site has them
below `lite/`, with the package as a wheel. JupyterLite is served by the site;
Python itself, which is Pyodide, comes from its public address when a kernel
starts for the first time, and a few small packages from PyPI. The build uses
no network.
"""

import json
import re
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import nbformat
from docutils import nodes
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell
from sphinx.errors import ExtensionError

from website import wheel

CHAPTERS = ("00", "01", "02", "03", "04")
FOLDER = "lite"
LABEL = "Run in your browser (needs a network at first use)"
KERNEL = {
    "name": "python",
    "display_name": "Python (Pyodide)",
    "language": "python",
}
# Of JupyterLab: the kernel, and the sliders of chapter 2.
EXTENSIONS = (
    "@jupyterlite/pyodide-kernel-extension",
    "@jupyter-widgets/jupyterlab-manager",
)

NOTE = """\
> **You are in your browser.** Nothing is installed on your computer, and what
> you write stays in this browser's storage; *File > Download* makes a copy.
> The first cell takes a while and needs a network, because it fetches Python.
> A check has no time limit here: if one never ends, restart the kernel."""
INSTALL = f"""\
# In the browser only: install the course's package, which the site serves,
# and the sliders.
%pip install -q minidiff ipywidgets=={version("ipywidgets")}
import os
os.environ["MINIDIFF_ANSWERS"] = "answers"  # where checks keep your answers"""

LINK = re.compile(r"\[([^\]]+)\]\((?!https?:|#)([^)\s]+)\)")


def is_in_lite(page: str) -> bool:
    """Tell whether a page of the site is a chapter that runs in a browser."""
    folder, _, name = page.rpartition("/")
    return folder == "notebooks" and name[:2] in CHAPTERS


def add_button(app: Any, doctree: nodes.document) -> None:
    """Put the link below the title of each chapter that runs in a browser."""
    page = app.env.docname
    if app.builder.format != "html" or not is_in_lite(page):
        return
    name = page.rpartition("/")[2]
    target = f"../{FOLDER}/lab/index.html?path={name}.ipynb"
    # A bold link that is a paragraph of its own becomes a button.
    link = nodes.reference("", "", refuri=target, classes=["internal"])
    link += nodes.strong("", LABEL)
    button = nodes.paragraph("", "", link, classes=["lite"])
    title = doctree.next_node(nodes.title)
    title.parent[1:1] = [button, _installing()]


def _installing() -> nodes.paragraph:
    """Return a line that leads to the installation on one's own computer."""
    how = nodes.reference(
        "", "", refuri="../book/intro.html#start", classes=["internal"]
    )
    how += nodes.Text("install the course")
    line = nodes.paragraph("", "To run the cells on your own computer, ")
    line += [how, nodes.Text(".")]
    return line


def add_script(
    app: Any, page: str, template: str, context: dict, doctree: Any
) -> None:
    """Load the script that replaces the button on a site opened as a file."""
    if is_in_lite(page):
        app.add_js_file("lite.js")


def for_browser(nb: NotebookNode, base: str) -> NotebookNode:
    """Change a chapter so that it runs in JupyterLite; return it.

    ``base`` is the site's address. Where it is not known, links to pages that
    are not in JupyterLite become plain text.
    """
    nb.metadata["kernelspec"] = NotebookNode(KERNEL)
    for cell in nb.cells:
        if cell.cell_type == "markdown":
            cell.source = LINK.sub(lambda m: _link(m, base), cell.source)
    first = [cell.cell_type for cell in nb.cells].index("code")
    nb.cells[first:first] = [
        new_markdown_cell(NOTE, id="in-the-browser"),
        new_code_cell(INSTALL, id="install"),
    ]
    return nb


def _link(match: re.Match[str], base: str) -> str:
    text, target = match.groups()
    page = re.sub(r"\.(ipynb|md)$", "", target)
    if is_in_lite(f"notebooks/{page}"):
        return match[0]
    if not base:
        return text
    place = page[3:] if page.startswith("../") else f"notebooks/{page}"
    return f"[{text}]({base}{place}.html)"


def write(app: Any, error: Exception | None) -> None:
    """Build JupyterLite with the chapters, below the site's own pages."""
    if error is None and app.builder.format == "html":
        root = Path(app.srcdir)
        build(root, Path(app.outdir, FOLDER), app.config.html_baseurl)


def build(root: Path, output: Path, base: str = "") -> None:
    """Build JupyterLite into a folder; the repository is in ``root``.

    Raises ExtensionError, with what JupyterLite printed, if it fails.
    """
    with tempfile.TemporaryDirectory(prefix="lite-") as name:
        folder = Path(name)
        for part in ("files", "pypi"):
            (folder / part).mkdir()
        scripts = []
        for path in sorted((root / "notebooks").glob("*.ipynb")):
            if is_in_lite(f"notebooks/{path.stem}"):
                nb = for_browser(nbformat.read(path, as_version=4), base)
                nbformat.write(nb, folder / "files" / path.name)
                scripts.append(root / f"book/chapters/{path.stem}.py")
        wheel.write(root, scripts, folder / "pypi")
        done = subprocess.run(
            command(folder, output.resolve()),
            cwd=folder,
            capture_output=True,
            text=True,
        )
    if done.returncode != 0:
        raise ExtensionError(
            f"JupyterLite was not built:\n{done.stdout}{done.stderr}"
        )


def command(folder: Path, output: Path) -> list[str]:
    """Return the command that builds JupyterLite, and only what is needed.

    Of the extensions of the JupyterLab that is installed here, the other ones
    are left out. Raises ExtensionError if one of `EXTENSIONS` is missing.
    """
    installed = Path(sys.prefix, "share", "jupyter", "labextensions")
    extensions = [installed / name for name in EXTENSIONS]
    for path in extensions:
        if not path.is_dir():
            raise ExtensionError(f"{path} is missing: install minidiff[book]")
    config = {
        "LiteBuildConfig": {
            "apps": ["lab"],
            "contents": ["files"],
            "federated_extensions": [str(path) for path in extensions],
            "ignore_sys_prefix": ["federated_extensions"],
            "no_sourcemaps": True,
            "no_unused_shared_packages": True,
            "output_dir": str(output),
        }
    }
    file = folder / "jupyter_lite_config.json"
    file.write_text(json.dumps(config), encoding="utf-8")
    return [sys.executable, "-m", "jupyterlite_core", "build"]
