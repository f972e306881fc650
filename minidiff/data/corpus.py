"""Text corpora from local files: the standard library, or any folder."""

import hashlib
import os
import sysconfig
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from minidiff.data.document_list import Piece
from minidiff.data.text_files import (
    NotTextError,
    check_texts,
    summary,
    text_of,
    walk,
)

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

    ``skipped`` names the files that are not text, and folders that were not
    entered; ``reasons`` says why, for each of them.
    """

    train: tuple[Document, ...]
    valid: tuple[Document, ...]
    skipped: tuple[str, ...]
    reasons: Mapping[str, str] = field(default_factory=dict)

    def texts(self) -> Iterator[tuple[str, str]]:
        """Yield every text with its side, "train" or "valid"."""
        for side, documents in (("train", self.train), ("valid", self.valid)):
            yield from ((side, document.text) for document in documents)

    def pieces(self, domain: str) -> Iterator[Piece]:
        """Yield every document with its side, all in one domain."""
        for side, documents in (("train", self.train), ("valid", self.valid)):
            for document in documents:
                yield Piece(side, document.text, domain, document.path)

    def why(self) -> Iterator[tuple[str, str]]:
        """Yield every skipped file or folder with the reason."""
        for name in self.skipped:
            yield name, self.reasons.get(name, "not text")

    @property
    def size(self) -> int:
        """Number of characters in all texts."""
        return sum(len(text) for _, text in self.texts())


def is_held_out(path: str, fraction: float = VALID_FRACTION) -> bool:
    """Tell whether a file is for validation, by a hash of its relative path.

    So a file stays on its side if other files are added or removed, and in
    every version of Python.
    """
    # A name that is not UTF-8 has surrogates in its place.
    digest = hashlib.sha256(path.encode(errors="surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") < fraction * 2**64


def standard_library() -> Corpus:
    """Read the Python source of the running interpreter's own library.

    About 12 MB: the ``.py`` files without tests and installed packages.
    Raises ValueError if the interpreter comes without source files.
    """
    root = Path(sysconfig.get_path("stdlib"))
    files = [
        path
        for path in walk(root, NOT_LIBRARY, {})
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


def read_folder(
    path: str | os.PathLike[str], *, leave_out: Iterable[Path] = ()
) -> Corpus:
    """Read every UTF-8 text file of a folder, or one file.

    Hidden files and folders (``.git``) are skipped; so are run folders and
    folders of token files, which training writes. Pipes, devices, unreadable
    files and linked folders are skipped too, and the result lists them with
    the reason. If the split by file leaves one side empty, as with a single
    file, the last tenth of each file is held out instead.

    Parameters
    ----------
    path : path
    leave_out : paths, optional
        Files and folders that do not belong to the text.

    Raises
    ------
    ValueError
        If the path does not exist or contains no text, or is itself a folder
        that training wrote.
    """
    root = Path(path)
    reasons: dict[str, str] = {}
    if root.is_file():
        root, files = root.parent, [root]
    elif root.is_dir():
        check_texts(root)
        files = list(walk(root, {"__pycache__"}, reasons, leave_out))
        files = [file for file in files if file.name[0] != "."]
    else:
        raise ValueError(f"path: got {root}, expected a folder or a text file")
    corpus = read_files(root, files, reasons)
    if not corpus.train and not corpus.valid:
        why = f": {summary(corpus.reasons)}" if corpus.reasons else ""
        raise ValueError(
            f"path: {path} has no text ({len(corpus.skipped)} files or "
            f"folders were skipped{why}), expected at least one text file"
        )
    return corpus


def read_listed(path: str | os.PathLike[str], names: Iterable[str]) -> Corpus:
    """Read these files of a folder, or the one file, and no others.

    So a run reads the same documents again if files were added to the
    folder. Raises ValueError, naming the file, if one is missing or is not
    text any more.
    """
    root = Path(path)
    if root.is_file():
        root = root.parent
    corpus = read_files(root, [root / name for name in names])
    for name, reason in corpus.reasons.items():
        raise ValueError(
            f"{root / name}: {reason}, expected the text that the run began "
            "with"
        )
    return corpus


def joined(*corpora: Corpus) -> Corpus:
    """Return the documents of several corpora as one."""
    return Corpus(
        train=tuple(d for c in corpora for d in c.train),
        valid=tuple(d for c in corpora for d in c.valid),
        skipped=tuple(path for c in corpora for path in c.skipped),
        reasons={n: why for c in corpora for n, why in c.reasons.items()},
    )


def read_files(
    root: Path, files: list[Path], reasons: Mapping[str, str] | None = None
) -> Corpus:
    """Read files below root, split by a hash of their paths.

    ``reasons`` are those of what was skipped before.
    """
    documents, skipped = [], dict(reasons or {})
    # Sort, because the order of a folder's files differs between machines.
    for relative in sorted(
        file.relative_to(root).as_posix() for file in files
    ):
        try:
            text = text_of(root / relative)
        except NotTextError as error:
            skipped[relative] = str(error)
            continue
        if text.strip():
            documents.append(Document(relative, text))
    train = tuple(d for d in documents if not is_held_out(d.path))
    valid = tuple(d for d in documents if is_held_out(d.path))
    if documents and not (train and valid):
        train, valid = _split_within(documents)
    return Corpus(
        train=train,
        valid=valid,
        skipped=tuple(sorted(skipped)),
        reasons=skipped,
    )


def _split_within(
    documents: list[Document],
) -> tuple[tuple[Document, ...], tuple[Document, ...]]:
    cuts = [round(len(d.text) * (1 - VALID_FRACTION)) for d in documents]
    pairs = list(zip(documents, cuts, strict=True))
    return (
        tuple(Document(d.path, d.text[:cut]) for d, cut in pairs),
        tuple(Document(d.path, d.text[cut:]) for d, cut in pairs),
    )
