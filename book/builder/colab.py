"""A first cell that makes a notebook run on Google Colab.

Colab opens a notebook without its repository. The cell fetches that, and
installs what is missing; packages that Colab has and that are recent enough
stay as they are. Anywhere else the cell does nothing. There is none while the
repository has no address (`Repository` in pyproject.toml).
"""

from nbformat import NotebookNode
from nbformat.v4 import new_code_cell
from website.address import Address

SOURCE = """\
# On Colab only: fetch the course and install what is missing there.
import importlib.util, subprocess, sys

if importlib.util.find_spec("minidiff") is None:
    url = "{url}"
    clone = ["git", "clone", "--depth", "1", url, "/content/course"]
    subprocess.run(clone, check=True)
    pip = [sys.executable, "-m", "pip", "install", "-q"]
    subprocess.run([*pip, "/content/course[check]"], check=True)
    sys.path.insert(0, "/content/course")"""


def add_cell(nb: NotebookNode, address: Address | None) -> None:
    """Insert the cell before the first code cell; it is folded away."""
    if address is None:
        return
    cell = new_code_cell(SOURCE.format(url=address.url))
    cell.metadata = NotebookNode(
        tags=["remove-cell"], jupyter=NotebookNode(source_hidden=True)
    )
    kinds = [cell.cell_type for cell in nb.cells]
    first = kinds.index("code") if "code" in kinds else len(kinds)
    nb.cells.insert(first, cell)
