"""Facts of the fact book: a short value for each country and attribute."""

import os
import re
from collections.abc import Mapping
from typing import Any

from minidiff.data.corpus import is_held_out
from minidiff.data.countries import Country
from minidiff.data.evidence.archives import read_members
from minidiff.data.evidence.english import (
    ENGLISH,
    EnglishSource,
    country_name,
)
from minidiff.files.json import parse_json
from minidiff.files.schema import anything, map_of

VALID_FRACTION = 0.2
PLACES = {
    "capital": ("Government", "Capital", "name"),
    "currency": ("Economy", "Exchange rates"),
    "language": ("People and Society", "Languages"),
    "religion": ("People and Society", "Religions"),
    "main crop": ("Economy", "Agriculture - products"),
    "main resource": ("Geography", "Natural resources"),
    "highest point": ("Geography", "Elevation extremes", "highest point"),
    "national symbol": ("Government", "National symbol(s)"),
}
_LEAST_FACTS, _MOST_WORDS = 5, 3
_NOT_FACTS = {"NA", "none", "national colors", "unnamed elevation"}
_FACTBOOK = next(s for s in ENGLISH if s.domain == "factbook")


def read_countries(
    folder: str | os.PathLike[str], source: EnglishSource = _FACTBOOK
) -> tuple[Country, ...]:
    """Read the countries of the archive in ``folder``, in order of name.

    Only values of a few plain words are used, and countries with fewer than
    five of them are left out. A fifth of the countries, chosen by a hash of
    the name, is for validation. The pages of these countries are all in the
    training text of the corpus, so that a model can know the real facts of a
    country that no training question asks about.

    Raises ValueError, naming the archive and what is wrong with it.
    """
    found = {}
    for path, text in read_members(
        folder, source.archive, source.members
    ).items():
        try:
            page = parse_json(text, map_of(anything), path, "a country")
            name = country_name(page)
            facts = {
                attribute: value
                for attribute, place in PLACES.items()
                if (value := _first(_text(page, place)))
            }
        except (ValueError, AttributeError) as error:
            raise ValueError(
                f"{source.archive.file}: {path}: {error!r} while reading it, "
                "expected a page of the fact book"
            ) from error
        if name and _plain(name) and len(facts) >= _LEAST_FACTS:
            page_path = path.removeprefix("package/").removesuffix(".json")
            known = not is_held_out(f"{source.domain}/{page_path}")
            asked_late = known and is_held_out(name, VALID_FRACTION)
            split = "valid" if asked_late else "train"
            found[name] = Country(name=name, facts=facts, split=split)
    return tuple(found[name] for name in sorted(found))


def _text(page: Mapping[str, Any], place: tuple[str, ...]) -> str:
    for key in place:
        page = page.get(key) or {}
    return page.get("text") or ""


def _first(text: str) -> str | None:
    """Return the first of several values if it is a few plain words."""
    value = re.split(r"[,;:(/\d]| \+\+| - ", text)[0].strip()
    short = len(value.split()) <= _MOST_WORDS
    return value if short and _plain(value) else None


def _plain(text: str) -> bool:
    """Tell whether a text is a few plain words, so letters with separators.

    A tokenizer splits such a text in the same places in any sentence.
    """
    words = re.fullmatch(r"[A-Za-z]+([ '-][A-Za-z]+)*", text)
    return bool(words) and text not in _NOT_FACTS
