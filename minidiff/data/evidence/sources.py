"""All domains of the corpus, with the split into training and validation.

Six domains are used for training: four of English, the standard library and
the installed packages. A tenth of their documents, chosen by a hash of the
path, is for validation. Three domains are held out as a whole, so that the
loss on text unlike the training text can be measured:

- ``novel`` (Moby-Dick): a kind of prose that no other source contains;
- ``documentation`` (the help pages of Python): prose about a language that
  the training text contains as source code only. It is small, so that
  training loses little text;
- ``python-networkx``: a package of which no file is used for training. It is
  always installed, because PyTorch requires it.
"""

import hashlib
import os
import platform
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from minidiff.data.corpus import Document, is_held_out, standard_library
from minidiff.data.document_list import Piece
from minidiff.data.evidence.english import (
    ENGLISH,
    EnglishSource,
    read_english,
)
from minidiff.data.packages import count, library_entry, read_packages

HELD_OUT = frozenset({"novel", "documentation", "python-networkx"})
LIBRARY, PACKAGES = "python-stdlib", "python-packages"

Owned = tuple[Piece, dict[str, Any]]
"""A text and the entry of the package that it comes from."""
Found = tuple[list[Owned], list[dict[str, Any]], Mapping[str, str]]
"""Texts, the entries of their packages, and what was skipped and why."""


@dataclass(frozen=True, kw_only=True)
class EvidenceCorpus:
    """Texts for ``write_tokens``, and the list of packages they come from.

    Attributes
    ----------
    pieces : tuple of Piece
        Held-out domains, then validation, then training. The training texts
        are in the order of a hash, so that the first ones are a sample of
        all domains.
    packages : list of dict
        An entry for each package, as ``installed_packages`` returns them,
        with "domain" and, for archives, "registry", "notice" and "sha256".
    repeats : int
        Number of documents left out because another one has the same text.
    skipped : tuple of str
        Files of packages that are not text.
    reasons : mapping
        Why, for each of them.
    """

    pieces: tuple[Piece, ...]
    packages: list[dict[str, Any]]
    repeats: int
    skipped: tuple[str, ...]
    reasons: Mapping[str, str]

    @property
    def size(self) -> int:
        """Number of characters in all texts."""
        return sum(len(piece.text) for piece in self.pieces)


def evidence_corpus(
    archives: str | os.PathLike[str],
    *,
    site: str | os.PathLike[str] | None = None,
    most_packages: int | None = None,
    english: Iterable[EnglishSource] = ENGLISH,
) -> EvidenceCorpus:
    """Read every domain, without a network.

    Parameters
    ----------
    archives : path
        The folder that ``fetch`` filled.
    site : path, optional
        A site-packages folder; that of the running interpreter if not given.
    most_packages : int, optional
        Most characters of installed packages to use for training. Files are
        chosen in the order of a hash; validation is not affected.
    english : sources, optional
        The sources of English; all of them if not given.

    Raises
    ------
    ValueError
        If an archive is missing or not the expected one, naming the file.
    """
    if most_packages is not None and most_packages < 0:
        raise ValueError(
            f"most_packages: got {most_packages}, expected 0 or more"
        )
    entries: list[dict[str, Any]] = []
    found: list[Owned] = []
    for source in english:
        entries.append(_archive_entry(source))
        for document in read_english(archives, source):
            found.append((_piece(source.domain, document), entries[-1]))
    reasons: dict[str, str] = {}
    for read in (_documentation, _library, lambda: _packages(site)):
        owned, listed, not_text = read()
        found += owned
        entries += listed
        reasons |= not_text
    kept = list(_without_repeats(sorted(found, key=_order)))
    repeats = len(found) - len(kept)
    if most_packages is not None:
        kept = list(_at_most(kept, most_packages))
    for piece, entry in kept:
        count(entry, piece.text)
    return EvidenceCorpus(
        pieces=tuple(piece for piece, _ in kept),
        packages=entries,
        repeats=repeats,
        skipped=tuple(reasons),
        reasons=reasons,
    )


def _piece(domain: str, document: Document) -> Piece:
    side = "valid" if is_held_out(document.path) else "train"
    if domain in HELD_OUT:
        side = domain
    return Piece(side, document.text, domain, document.path)


def _archive_entry(source: EnglishSource) -> dict[str, Any]:
    archive = source.archive
    return {
        "name": archive.name,
        "version": archive.version,
        "licence": archive.licence,
        "used": True,
        "domain": source.domain,
        "registry": archive.registry,
        "notice": archive.notice,
        "sha256": archive.sha256,
    }


def _documentation() -> Found:
    """Read the help pages that come with Python, shown by ``help("for")``."""
    from pydoc_data.topics import topics

    entry = {
        "name": "Python help topics (pydoc_data)",
        "version": platform.python_version(),
        "licence": "PSF-2.0",
        "used": True,
        "domain": "documentation",
    }
    pages = [Document(name, text.strip()) for name, text in topics.items()]
    owned = [(_piece("documentation", page), entry) for page in pages]
    return owned, [entry], {}


def _library() -> Found:
    corpus = standard_library()
    entry = library_entry(corpus) | {"domain": LIBRARY}
    for key in ("files", "characters"):  # recounted for kept files
        del entry[key]
    owned = [
        (_piece(LIBRARY, document), entry)
        for document in (*corpus.train, *corpus.valid)
        # pydoc_data has the help pages, which are held out.
        if not document.path.startswith("pydoc_data/")
    ]
    return owned, [entry], dict(corpus.why())


def _packages(
    site: str | os.PathLike[str] | None,
) -> Found:
    corpus, entries, owners = read_packages(site)
    for entry in entries:
        domain = f"python-{entry['name'].lower()}"
        entry["domain"] = domain if domain in HELD_OUT else PACKAGES
    owned = [
        (_piece(entry["domain"], document), entry)
        for document in (*corpus.train, *corpus.valid)
        if (entry := owners[document.path])
    ]
    return owned, entries, dict(corpus.why())


def _order(owned: Owned) -> tuple[int, str, str]:
    """Return the sort key: held-out domains, validation, then training.

    Validation is sorted by path, training by a hash.
    """
    side, _, domain, path = owned[0]
    if side == "train":
        name = f"{domain}/{path}"
        data = name.encode(errors="surrogatepass")
        return 2, "", hashlib.sha256(data).hexdigest()
    return int(side == "valid"), domain or "", path or ""


def _without_repeats(found: Iterable[Owned]) -> Iterator[Owned]:
    """Keep the first of equal texts, so that no text is on two sides.

    Some packages contain copies of others, and many files are a licence
    only.
    """
    seen = set()
    for piece, entry in found:
        digest = hashlib.sha256(piece.text.strip().encode()).digest()
        if digest not in seen:
            seen.add(digest)
            yield piece, entry


def _at_most(found: Iterable[Owned], most: int) -> Iterator[Owned]:
    """Limit the training text from packages to ``most`` characters."""
    total = 0
    for piece, entry in found:
        if piece.side == "train" and piece.domain == PACKAGES:
            total += len(piece.text)
            if total > most:
                continue
        yield piece, entry
