"""Scenes of the fact book: documents with facts, and questions about them.

A text is a list of pieces. Each piece begins where a byte-level tokenizer
begins a new word, so the ids of a text are those of its pieces, concatenated.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np

from minidiff.data.countries import ATTRIBUTES, Country
from minidiff.data.protocol import SPLITS

KINDS = ("single", "several", "unanswerable", "list")
NOT_STATED = "not stated"
LINE, STOP, _COMMA = "\n", ".", ","
_FIXED = (
    *(LINE, STOP, _COMMA, ":", "?", "The", "Question", "Answer"),
    *(" What", " is", " the", " of", " said", f" {NOT_STATED}"),
)
_STARTS = ("Bar", "Del", "Fos", "Gan", "Hul", "Kem", "Lor", "Mav", "Nir")
_MIDDLES = ("a", "ani", "edo", "esta", "i", "ora", "umi", "y")
_ENDS = ("dan", "fell", "land", "mark", "nia", "ria", "stan", "via")


class Document(NamedTuple):
    """A country and the facts stated about it, by attribute, in order."""

    country: str
    facts: dict[str, str]

    def pieces(self) -> list[str]:
        """Return the text: a sentence per line, then an empty line."""
        text = []
        for attribute, value in self.facts.items():
            text += ["The", f" {attribute}", " of", f" {self.country}"]
            text += [" is", f" {value}", STOP, LINE]
        return [*text, LINE]

    def listed(self) -> list[str]:
        """Return everything it states, as the answer to a "list" question."""
        items = []
        for attribute, value in self.facts.items():
            items += [f" {attribute}", f" {value}", _COMMA]
        return items[:-1]


class Question(NamedTuple):
    """A question about a scene, for the program that scores answers.

    kind : one of ``KINDS``
    country, attribute : subject of the question; for "list" the attribute is
        None
    said : the right answer in pieces, as the document about the country says
    others : values of the attribute in the scene's other documents
    memory : the value in the real world; None if the country is invented, the
        fact is not known, or the kind is "list"
    """

    kind: str
    country: str
    attribute: str | None
    said: list[str]
    others: tuple[str, ...]
    memory: str | None

    @property
    def answer(self) -> str:
        """Return the right answer as text, without the full stop."""
        return "".join(self.said).removeprefix(" ")

    def pieces(self) -> list[str]:
        """Return the question's text, up to the beginning of the answer."""
        what = [" said"]
        if self.attribute is not None:
            what = [" the", f" {self.attribute}"]
        asked = [" What", " is", *what, " of", f" {self.country}", "?"]
        return ["Question", ":", *asked, LINE, "Answer", ":"]


class Scenes:
    """Generator of scenes: documents and their questions.

    Raises ValueError if a side has too few countries, or an attribute too
    few values, to give every document of a scene its own.
    """

    def __init__(
        self,
        countries: Sequence[Country],
        documents: int,
        facts: int,
        kinds: Sequence[str],
    ) -> None:
        self._documents, self._facts, self._kinds = documents, facts, kinds
        self._real = {c.name: c.facts for c in countries}
        self._values = [
            sorted({c.facts[a] for c in countries if a in c.facts})
            for a in ATTRIBUTES
        ]
        invented = _invented(self._real)
        self._names = {}
        for split in SPLITS:
            real = [c.name for c in countries if c.split == split]
            # A quarter of the invented names are for validation.
            quarter = len(invented) // 4
            own = (
                invented[:quarter] if split == "valid" else invented[quarter:]
            )
            self._names[split] = real, own
            if len(real) < documents:
                raise ValueError(
                    f"countries: got {len(real)} for {split!r}, expected at "
                    f"least documents = {documents}"
                )
        for attribute, values in zip(ATTRIBUTES, self._values, strict=True):
            if len(values) <= documents:
                raise ValueError(
                    f"countries: got {len(values)} different values of "
                    f"{attribute!r}, expected more than documents = "
                    f"{documents}"
                )

    def pieces(self) -> list[str]:
        """Return every piece that a text can contain."""
        words = list(chain(ATTRIBUTES, *self._values))
        for real, invented in self._names.values():
            words += [*real, *invented]
        return sorted({*_FIXED, *(f" {word}" for word in words)})

    def draw(
        self, random: np.random.Generator, split: str
    ) -> tuple[list[Document], Iterator[Question]]:
        """Return the documents of a scene, and its questions one by one."""
        several = [kind for kind in self._kinds if kind != "single"]
        alone = "single" in self._kinds and random.random() < 0.25
        if alone or not several:
            documents = self._draw_documents(random, split, 1)
            return documents, self._questions(random, documents, ["single"])
        documents = self._draw_documents(random, split, self._documents)
        return documents, self._questions(random, documents, several)

    def _draw_documents(
        self, random: np.random.Generator, split: str, count: int
    ) -> list[Document]:
        chosen: dict[str, None] = {}  # an ordered set
        while len(chosen) < count:
            pool = self._names[split][int(random.random() < 0.5)]
            chosen[pool[int(random.random() * len(pool))]] = None
        stated = random.random((count, len(ATTRIBUTES))).argsort(axis=1)
        documents = [Document(country, {}) for country in chosen]
        # With one value more than documents, each document can get a value
        # that is neither used by another one nor the real one.
        values = [
            [values[i] for i in _places(random, len(values), count + 1)]
            for values in self._values
        ]
        for document, order in zip(documents, stated.tolist(), strict=True):
            facts = self._real.get(document.country, {})
            for number in order[: self._facts]:
                attribute, free = ATTRIBUTES[number], values[number]
                first = free[0] == facts.get(attribute)
                document.facts[attribute] = free.pop(int(first))
        return documents

    def _questions(
        self,
        random: np.random.Generator,
        documents: list[Document],
        kinds: list[str],
    ) -> Iterator[Question]:
        """Yield all questions of a scene; all kinds are equally likely."""
        left: dict[str, list[tuple[Document, str | None]]]
        left = {kind: [] for kind in kinds}
        if "list" in left:
            left["list"] = [(document, None) for document in documents]
        for attribute in ATTRIBUTES:
            times = sum(attribute in d.facts for d in documents)
            for document in documents:
                here = attribute in document.facts
                kind = "several" if here else "unanswerable"
                if len(documents) == 1:
                    kind, possible = "single", here
                else:  # ask only if another document states the attribute
                    possible = times > here
                if possible and kind in left:
                    left[kind].append((document, attribute))
        while left := {kind: some for kind, some in left.items() if some}:
            kind = list(left)[int(random.random() * len(left))]
            about = left[kind].pop(int(random.random() * len(left[kind])))
            yield self._question(kind, *about, documents)

    def _question(
        self,
        kind: str,
        document: Document,
        attribute: str | None,
        documents: list[Document],
    ) -> Question:
        country, facts = document
        rest = [d for d in documents if d is not document]
        if attribute is None:
            said = document.listed()
            others = ["".join(d.listed()).removeprefix(" ") for d in rest]
            memory = None
        else:
            said = [f" {facts.get(attribute, NOT_STATED)}"]
            others = [d.facts[attribute] for d in rest if attribute in d.facts]
            memory = self._real.get(country, {}).get(attribute)
        return Question(kind, country, attribute, said, tuple(others), memory)


def _invented(real: Mapping[str, object]) -> list[str]:
    """Return names of countries that do not exist, in a fixed order."""
    names = [a + b + c for a in _STARTS for b in _MIDDLES for c in _ENDS]
    order = np.random.default_rng(0).permutation(len(names))
    return [names[i] for i in order if names[i] not in real]


def _places(random: np.random.Generator, total: int, count: int) -> list[int]:
    """Draw distinct numbers below ``total``; fast if count is small."""
    found: dict[int, None] = {}
    while len(found) < count:
        found[int(random.random() * total)] = None
    return list(found)
