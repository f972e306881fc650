"""Paths of the course's files: recorded results, weights, and readers' runs.

Only the chapters need these files. They are part of the repository and not of
an installed wheel, so they are looked for in the folder above the package.
"""

import os
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]


def root() -> Path:
    """Return the repository's folder, which has book/ and notebooks/.

    Raises FileNotFoundError if the package was installed without it.
    """
    folder = _PACKAGE.parent
    if not (folder / "book" / "chapters").is_dir():
        raise FileNotFoundError(
            f"no course beside the package in {_PACKAGE}: expected the folder "
            f"{folder / 'book'}. Clone the course's repository and, in its "
            'folder, run: pip install -e ".[course]" -c constraints.txt'
        )
    return folder


def results(name: str) -> Path:
    """Return the path of a recorded run in book/results, as "needles.json".

    Raises ValueError if the name leads outside the folder, FileNotFoundError
    if there is no such file.
    """
    return _find("results", name)


def weights(name: str) -> Path:
    """Return the path of a small trained model in book/weights.

    Raises the same errors as `results`.
    """
    return _find("weights", name)


def runs(name: str) -> Path:
    """Return the folder of a run that the reader trained, as ``runs/mine``.

    It may not exist yet. The environment variable MINIDIFF_RUNS names another
    folder than the course's ``runs``, which git ignores.
    """
    folder = os.environ.get("MINIDIFF_RUNS")
    return (
        Path(os.path.expanduser(folder)) if folder else root() / "runs"
    ) / name


def _find(kind: str, name: str) -> Path:
    folder = root() / "book" / kind
    path = (folder / name).resolve()
    if not name or not path.is_relative_to(folder) or path == folder:
        raise ValueError(
            f"name: expected a file's name inside {folder}, got {name!r}"
        )
    if not path.exists():
        there = sorted(p.name for p in folder.glob("*")) or ["nothing"]
        raise FileNotFoundError(
            f"{path}: not there; {folder} holds {', '.join(there)}"
        )
    return path
