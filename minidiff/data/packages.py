"""Corpus of installed packages: Python source under permissive licences.

If you ship a model, you should be able to say what it was trained on. So only
packages that state a permissive licence are used, and all packages are listed
with their licences.
"""

import os
import platform
import sysconfig
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any

from minidiff.data.corpus import NOT_LIBRARY, Corpus, read_files

# SPDX names of licences that require no more than attribution.
PERMISSIVE = frozenset(
    {"0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0"}
    | {
        "CNRI-Python",
        "ISC",
        "MIT",
        "MIT-0",
        "MIT-CMU",
        "PSF-2.0",
        "Python-2.0",
    }
    | {"Unlicense", "Zlib"}
)

# Names of licences in metadata from before the field for SPDX expressions.
_SPDX = {
    "apache 2.0": "Apache-2.0",
    "apache 2.0 license": "Apache-2.0",
    "apache license 2.0": "Apache-2.0",
    "apache license, version 2.0": "Apache-2.0",
    "apache software license": "Apache-2.0",
    "bsd 3-clause": "BSD-3-Clause",
    "bsd 3-clause license": "BSD-3-Clause",
    "bsd-3-clause license": "BSD-3-Clause",
    "isc license (iscl)": "ISC",
    "mit license": "MIT",
    "python software foundation license": "PSF-2.0",
    "the unlicense (unlicense)": "Unlicense",
} | {name.lower(): name for name in PERMISSIVE}


def installed_packages(
    folder: str | os.PathLike[str] | None = None,
) -> tuple[Corpus, list[dict[str, Any]]]:
    """Read the Python source of the packages installed in a folder.

    Tests are left out. Returns the corpus and a list with an entry for each
    package: ``name``, ``version``, ``licence`` (an SPDX expression, or None
    if the package does not state one), ``used`` and, if it is used,
    ``files`` and ``characters``.

    Parameters
    ----------
    folder : path, optional
        A site-packages folder; that of the running interpreter if not given.

    Raises
    ------
    ValueError
        If no package there can be used.
    """
    corpus, entries, owners = read_packages(folder)
    for document in (*corpus.train, *corpus.valid):
        count(owners[document.path], document.text)
    return corpus, entries


def read_packages(
    folder: str | os.PathLike[str] | None = None,
) -> tuple[Corpus, list[dict[str, Any]], dict[str, dict[str, Any]]]:
    """Read the same, and also return the entry of each path's package.

    The entries have no counts yet, so that callers can use a part of the
    corpus and count only that with ``count``.
    """
    root = Path(folder or sysconfig.get_path("purelib")).resolve()
    entries: list[dict[str, Any]] = []
    files: dict[Path, dict[str, Any]] = {}
    for package in distributions(path=[str(root)]):
        name, licence = package.metadata["Name"], licence_of(package)
        sources = _sources(package, root)
        used = is_permissive(licence) and bool(sources)
        entries.append(
            {
                "name": name,
                "version": package.version,
                "licence": licence,
                "used": used,
            }
        )
        if used:
            files |= {path: entries[-1] for path in sources}
    if not files:
        raise ValueError(
            f"folder: {root} has no package with Python source and a "
            "permissive licence, expected one or more"
        )
    corpus = read_files(root, list(files))
    owners = {
        path.relative_to(root).as_posix(): entry
        for path, entry in files.items()
    }
    return corpus, sorted(entries, key=lambda e: e["name"].lower()), owners


def count(entry: dict[str, Any], text: str) -> None:
    """Add one file's text to its package's files and characters."""
    entry["files"] = entry.get("files", 0) + 1
    entry["characters"] = entry.get("characters", 0) + len(text)


def library_entry(corpus: Corpus) -> dict[str, Any]:
    """Return the standard library's entry for the list of packages."""
    return {
        "name": "Python standard library",
        "version": platform.python_version(),
        "licence": "PSF-2.0",
        "used": True,
        "files": len(corpus.train) + len(corpus.valid),
        "characters": corpus.size,
    }


def licence_of(package: Distribution) -> str | None:
    """Return a package's licence as an SPDX expression, or None.

    This is the package's own expression or, if there is none, a permissive
    licence named in its classifiers or its licence field.
    """
    said = package.metadata
    expression, *_ = said.get_all("License-Expression", [""])
    if expression:
        return expression
    classifiers = [
        text.rsplit("::", 1)[-1].strip()
        for text in said.get_all("Classifier", [])
        if text.startswith("License ::") and text.count("::") > 1
    ]
    texts = classifiers or said.get_all("License", [""])
    texts = [text.strip().lower() for text in texts]
    if not _SPDX.keys() >= set(texts):
        return None
    return " AND ".join(sorted({_SPDX[text] for text in texts}))


def is_permissive(licence: str | None) -> bool:
    """Tell whether every licence in an SPDX expression is permissive."""
    if licence is None:
        return False
    words = licence.replace("(", " ").replace(")", " ").split()
    return all(w in PERMISSIVE or w in ("AND", "OR") for w in words)


def _sources(package: Distribution, root: Path) -> list[Path]:
    found = []
    for file in package.files or []:
        path = Path(file.locate()).resolve()
        if file.suffix != ".py" or not path.is_relative_to(root):
            continue
        if not NOT_LIBRARY.intersection(path.relative_to(root).parts):
            found.append(path)
    return found
