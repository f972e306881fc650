"""Saving of the course's notebooks in JupyterLab, so that git stays clean.

Running a chapter changes its outputs, and Lab saves them every few seconds.
So git called every chapter modified that was only run. With `keep_recorded`
a notebook in which nothing was written is saved as the last commit has it;
its new outputs are seen until it is closed. As soon as a cell is edited,
added or removed, everything is saved.
"""

import subprocess
from pathlib import Path
from typing import Any

import nbformat

FOLDERS = ("notebooks", "exercises")


def keep_recorded(
    model: dict[str, Any], path: str, contents_manager: Any, **_: Any
) -> None:
    """Replace what is saved if only outputs differ from the last commit's.

    This is the ``pre_save_hook`` of Jupyter's contents manager; ``path`` is
    relative to its folder. Notebooks outside of the course's folders are not
    changed, and nothing is where there is no git.
    """
    if model["type"] != "notebook" or path.split("/")[0] not in FOLDERS:
        return
    recorded = _recorded(Path(contents_manager.root_dir) / path)
    if recorded and _written(recorded) == _written(model["content"]):
        model["content"] = recorded


def _recorded(file: Path) -> Any:
    """Return the notebook of the last commit, or None if there is none."""
    try:
        done = subprocess.run(
            ["git", "show", f"HEAD:./{file.name}"],
            cwd=file.parent,
            capture_output=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return nbformat.reads(done.stdout.decode("utf-8"), as_version=4)


def _written(notebook: Any) -> list[tuple[str, str]]:
    """Return what a reader writes: the kind and the text of each cell."""
    return [(cell["cell_type"], cell["source"]) for cell in notebook["cells"]]
