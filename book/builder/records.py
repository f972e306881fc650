"""The recorded runs and weights whose contents a notebook shows.

A notebook keeps their hashes in its metadata. When a record changes, the
outputs that were made from it are stale, and a test can say so without
executing anything.
"""

import hashlib
import re
from pathlib import Path

from nbformat import NotebookNode

# "text.json", and in an f-string "pair_{kind}.safetensors" or "{name}.json".
_FILE = re.compile(r"[\w{}]+\.(?:json|safetensors)\b")
_WORD = re.compile(r'"(\w+)"')


def hashes(nb: NotebookNode, root: Path) -> dict[str, str]:
    """Return the files that the code of `nb` names, each with its hash.

    They are looked for in book/results and book/weights. A part of a name
    that is filled in while the code runs stands for whatever fits there; if
    it is the whole name, for every word that the code has in quotes.
    """
    code = "\n".join(c.source for c in nb.cells if c.cell_type == "code")
    names: set[str] = set()
    for name in _FILE.findall(code):
        pattern = re.sub(r"\{\w*\}", "*", name)
        if pattern.startswith("*."):
            names.update(w + pattern[1:] for w in _WORD.findall(code))
        else:
            names.add(pattern)
    found: dict[str, str] = {}
    for folder in ("results", "weights"):
        for name in names:
            for path in (root / "book" / folder).glob(name):
                digest = hashlib.sha256(path.read_bytes()).hexdigest()
                found[f"{folder}/{path.name}"] = digest[:16]
    return dict(sorted(found.items()))


def changed(got: dict[str, str], want: dict[str, str]) -> list[str]:
    """Return the files that came, went or changed between two hashings."""
    return sorted(k for k in {*got, *want} if got.get(k) != want.get(k))
