"""The list of the documents in token files, with their domains.

``documents.json``, beside the token files, lists the documents of every side
except "train": path, domain, number of tokens and number of UTF-8 bytes, in
the order of the token file. A domain that is held out as a whole is a side of
its own, with its own token file.
"""

import json
import re
from pathlib import Path
from typing import NamedTuple

from minidiff.data.protocol import SPLITS
from minidiff.data.unicode import without_surrogates

DOCUMENTS_NAME = "documents.json"


class Piece(NamedTuple):
    """A text to be written to a token file.

    ``side`` is "train", "valid" or the name of a held-out domain.
    """

    side: str
    text: str
    domain: str | None = None
    path: str | None = None


class DocumentList:
    """Counts by domain and side, and the documents that can be measured."""

    def __init__(self) -> None:
        self.domains: dict[str, dict[str, dict[str, int]]] = {}
        self._rows: dict[str, list[tuple[str, str, int, int]]] = {}
        self._seen: set[tuple[str, str]] = set()

    def add(self, piece: Piece, tokens: int) -> None:
        """List one text, if it has a domain.

        Raises ValueError if a document is added twice, or if a document of a
        held-out domain is on another side.
        """
        side, text, domain, path = piece
        if domain is None or path is None:
            if side not in SPLITS:
                raise ValueError(
                    f"texts: got side {side!r} without a domain and a path, "
                    "expected 'train' or 'valid'"
                )
            return
        if side not in SPLITS and side != domain:
            raise ValueError(
                f"texts: {path} of {domain!r} is on side {side!r}, expected "
                f"'train', 'valid' or {domain!r}"
            )
        if domain in SPLITS or not re.fullmatch("[a-z0-9-]+", domain):
            raise ValueError(
                f"texts: {path} has domain {domain!r}, expected lower-case "
                "letters, digits and hyphens, not a side's name"
            )
        if (domain, path) in self._seen:
            raise ValueError(
                f"texts: {path} of {domain!r} comes twice, expected every "
                "document once, on one side"
            )
        self._seen.add((domain, path))
        counts = self.domains.setdefault(domain, {})
        if counts and (side == domain) != (domain in counts):
            raise ValueError(
                f"texts: {path} is on side {side!r}, but other documents of "
                f"{domain!r} are on {', '.join(map(repr, counts))}: expected "
                "a domain to be held out as a whole or not at all"
            )
        size = len(without_surrogates(text).encode()) + 2  # the empty line
        here = counts.setdefault(
            side, {"documents": 0, "characters": 0, "bytes": 0, "tokens": 0}
        )
        here["documents"] += 1
        here["characters"] += len(text)
        here["bytes"] += size
        here["tokens"] += tokens
        if side != "train":
            row = path, domain, tokens, size
            self._rows.setdefault(side, []).append(row)

    @property
    def held_out(self) -> list[str]:
        """Return the domains that are held out as a whole."""
        return [
            name for name, counts in self.domains.items() if name in counts
        ]

    def save(self, folder: Path) -> None:
        """Write ``documents.json``, one line for each document."""
        sides = (
            f"{json.dumps(side)}: [\n"
            + ",\n".join(json.dumps(row) for row in rows)
            + "\n]"
            for side, rows in self._rows.items()
        )
        text = "{" + ",\n".join(sides) + "}\n"
        (folder / DOCUMENTS_NAME).write_text(text, encoding="utf-8")
