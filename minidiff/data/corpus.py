"""Text corpora from local files: the standard library, or any folder."""

import hashlib
import os
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from minidiff.data.document_list import Piece

VALID_FRACTION = 0.1
"""Share of files held out: about 1 MB of the library, enough to measure."""

NOT_LIBRARY = {
    "__pycache__",
    "dist-packages",
    "idle_test",
    "site-packages",
    "test",
    "tests",
}


@dataclass(frozen=True)
class Document:
    """One file: its path relative to the folder, with ``/``, and its text."""

    path: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """Documents in order of path, each on one side of the split.

    ``skipped`` names the files that are not text: binary, not UTF-8, or not
    readable.
    """

    train: tuple[Document, ...]
    valid: tuple[Document, ...]
    skipped: tuple[str, ...]

    def texts(self) -> Iterator[tuple[str, str]]:
        """Yield every text with its side, "train" or "valid"."""
        for side, documents in (("train", self.train), ("valid", self.valid)):
            yield from ((side, document.text) for document in documents)

    def pieces(self, domain: str) -> Iterator[Piece]:
        """Yield every document with its side, all in one domain."""
        for side, documents in (("train", self.train), ("valid", self.valid)):
            for document in documents:
                yield Piece(side, document.text, domain, document.path)

    @property
    def size(self) -> int:
        """Number of characters in all texts."""
        return sum(len(text) for _, text in self.texts())


def is_held_out(path: str, fraction: float = VALID_FRACTION) -> bool:
    """Tell whether a file is for validation, by a hash of its relative path.

    So a file stays on its side if other files are added or removed, and in
    every version of Python.
    """
    digest = hashlib.sha256(path.encode()).digest()
    return int.from_bytes(digest[:8], "big") < fraction * 2**64


def standard_library() -> Corpus:
    """Read the Python source of the running interpreter's own library.

    About 12 MB: the ``.py`` files without tests and installed packages.
    Raises ValueError if the interpreter comes without source files.
    """
    root = Path(sysconfig.get_path("stdlib"))
    files = [
        path
        for path in _walk(root, NOT_LIBRARY)
        # These files are generated when Python is built and contain paths of
        # the build machine.
        if path.suffix == ".py" and not path.name.startswith("_sysconfigdata")
    ]
    if not files:
        raise ValueError(
            f"the standard library at {root} has no .py files, expected the "
            "source of this Python; train on a folder of text instead"
        )
    return read_files(root, files)


def read_folder(path: str | os.PathLike[str]) -> Corpus:
    """Read every UTF-8 text file of a folder, or one file.

    Hidden files and folders (``.git``) are skipped. If the split by file
    leaves one side empty, as with a single file, the last tenth of each file
    is held out instead.

    Raises ValueError if the path does not exist or contains no text.
    """
    root = Path(path)
    if root.is_file():
        root, files = root.parent, [root]
    elif root.is_dir():
        files = [f for f in _walk(root, {"__pycache__"}) if f.name[0] != "."]
    else:
        raise ValueError(f"path: got {root}, expected a folder or a text file")
    corpus = read_files(root, files)
    if not corpus.train and not corpus.valid:
        raise ValueError(
            f"path: {root} has no text ({len(corpus.skipped)} files are not "
            "UTF-8 text), expected at least one text file"
        )
    return corpus


def joined(*corpora: Corpus) -> Corpus:
    """Return the documents of several corpora as one."""
    return Corpus(
        train=tuple(d for c in corpora for d in c.train),
        valid=tuple(d for c in corpora for d in c.valid),
        skipped=tuple(path for c in corpora for path in c.skipped),
    )


def _walk(root: Path, skip: set[str]) -> Iterator[Path]:
    for folder, subfolders, names in os.walk(root):
        subfolders[:] = [
            name for name in subfolders if name not in skip and name[0] != "."
        ]
        yield from (Path(folder, name) for name in names)


def read_files(root: Path, files: list[Path]) -> Corpus:
    """Read files below root, split by a hash of their paths."""
    documents, skipped = [], []
    # Sort, because the order of a folder's files differs between machines.
    for relative in sorted(
        file.relative_to(root).as_posix() for file in files
    ):
        text = _text(root / relative)
        if text is None:
            skipped.append(relative)
        elif text.strip():
            documents.append(Document(relative, text))
    train = tuple(d for d in documents if not is_held_out(d.path))
    valid = tuple(d for d in documents if is_held_out(d.path))
    if documents and not (train and valid):
        train, valid = _split_within(documents)
    return Corpus(train=train, valid=valid, skipped=tuple(skipped))


def _text(path: Path) -> str | None:
    """Return a file's text with ``\\n`` line ends, or None if not text."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return None
    # NUL is valid UTF-8, but means that the file is binary.
    return None if "\0" in text else text


def _split_within(
    documents: list[Document],
) -> tuple[tuple[Document, ...], tuple[Document, ...]]:
    cuts = [round(len(d.text) * (1 - VALID_FRACTION)) for d in documents]
    pairs = list(zip(documents, cuts, strict=True))
    return (
        tuple(Document(d.path, d.text[:cut]) for d, cut in pairs),
        tuple(Document(d.path, d.text[cut:]) for d, cut in pairs),
    )
