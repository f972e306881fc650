"""Paths of the course's own files: recorded results and small weights.

The package never needs them; chapters do. They are part of the checkout, not
of an installed wheel, so they are looked for beside the package.
"""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]


def root() -> Path:
    """The checkout's folder, the one that holds book/ and notebooks/.

    Raises FileNotFoundError when the package was installed without one.
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
    """The recorded run `name` in book/results, for example "needles.json".

    Raises ValueError for a name that leaves the folder, FileNotFoundError
    for one that is not there.
    """
    return _find("results", name)


def weights(name: str) -> Path:
    """The small trained model `name` in book/weights.

    Raises like `results`.
    """
    return _find("weights", name)


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
