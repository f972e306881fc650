"""Rows of short documents about countries, with questions about them.

The documents contradict the real world on purpose, so that no question can be
answered from memory: the right answer is always the one in the row.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from minidiff.data.countries import ATTRIBUTES, Country
from minidiff.data.fact_scenes import KINDS, LINE, STOP, Question, Scenes
from minidiff.data.protocol import (
    ALL,
    IGNORE,
    check_batch_size,
    random_numbers,
)
from minidiff.data.tokenizers import Tokenizer

_TRIES = 8  # draws of a scene to fill a row; a shorter one may still fit


class Asked(NamedTuple):
    """A question, and the position of its answer in a batch.

    The answer is ``inputs[row, start:stop]``, including the full stop; so
    its tokens are the targets at positions ``start - 1`` to ``stop - 2``.
    """

    row: int
    start: int
    stop: int
    question: Question


class FactBatch(NamedTuple):
    """A batch and its questions, in the order of the rows.

    inputs, targets : (B, T) int64; targets are -100 except answers' tokens
    """

    inputs: Tensor
    targets: Tensor
    questions: list[Asked]


class FactBook:
    """Rows of documents with questions, encoded by the text's tokenizer.

    A row is a sequence of scenes. A scene has one or more documents, then
    questions about them until all are asked or the row is full::

        The capital of Chad is Oslo.
        The currency of Chad is yen.

        Question: What is the capital of Chad?
        Answer: Oslo.

    Half of the countries are invented. The others are real, but each stated
    value is drawn from those of other countries. No two documents of a scene
    state the same value of an attribute, so an answer shows which document
    it comes from. The kinds of questions are:

    - "single": the scene has one document;
    - "several": the scene has several documents, and another one states the
      attribute too;
    - "unanswerable": another document states the attribute but the one about
      the country does not, so the answer is "not stated";
    - "list": the answer is everything that the document states, in order.

    Only the answers' tokens are targets. The statements in the documents are
    random, so a model that predicts them would learn nothing, or false facts.

    Parameters
    ----------
    countries : Country, several
        Questions about a country occur only on its side of the split.
        Values come from all countries.
    tokenizer : Tokenizer
    length : int
        Tokens T in a row.
    documents : int
        Documents in a scene that has several.
    facts : int
        Facts in each document, fewer than there are attributes.
    kinds : names of ``KINDS``
        Kinds of questions to ask, for example to measure one kind alone.
    seed : int
        The validation rows are the same for every seed.
    """

    def __init__(
        self,
        countries: Sequence[Country],
        tokenizer: Tokenizer,
        *,
        length: int,
        documents: int = 4,
        facts: int = 4,
        kinds: Sequence[str] = KINDS,
        seed: int = 0,
    ) -> None:
        if documents < 2:
            raise ValueError(f"documents: got {documents}, expected 2 or more")
        if not 0 < facts < len(ATTRIBUTES):
            raise ValueError(
                f"facts: got {facts}, expected 1 to {len(ATTRIBUTES) - 1}, so "
                "that some attributes are not stated"
            )
        if not kinds or set(kinds) - set(KINDS):
            raise ValueError(
                f"kinds: got {tuple(kinds)}, expected some of {KINDS}"
            )
        if seed < 0:
            raise ValueError(f"seed: got {seed}, expected 0 or more")
        self.vocab_size = tokenizer.vocab_size
        self.length, self.seed = length, seed
        self.documents, self.facts, self.kinds = documents, facts, tuple(kinds)
        self._countries = tuple(countries)
        self._scenes = Scenes(countries, documents, facts, self.kinds)
        pieces = self._scenes.pieces()
        self._ids = dict(
            zip(pieces, tokenizer.encode_many(pieces), strict=True)
        )

    def batch(
        self,
        step: int,
        batch_size: int,
        split: str = "train",
        rows: slice = ALL,
    ) -> tuple[Tensor, Tensor]:
        """Inputs and targets of one step's rows, int64 (B, T) each.

        Only the requested rows are generated.
        """
        sample = self.sample(step, batch_size, split, rows)
        return sample.inputs, sample.targets

    def sample(
        self,
        step: int,
        batch_size: int,
        split: str = "train",
        rows: slice = ALL,
    ) -> FactBatch:
        """Return a batch with its questions and the data needed to score them.

        The questions' row numbers count the returned rows, from 0.
        """
        check_batch_size(batch_size)
        seed = self.seed if split == "train" else 0
        numbers = range(batch_size)[rows]
        inputs = np.zeros((len(numbers), self.length), dtype=np.int64)
        targets = np.full_like(inputs, IGNORE)
        questions = []
        for row, number in enumerate(numbers):
            random = random_numbers(seed, split, step, number)
            inputs[row], asked = self._row(random, split)
            for start, stop, question in asked:
                answer = inputs[row, start:stop]
                targets[row, start - 1 : stop - 1] = answer
                questions.append(Asked(row, start, stop, question))
        return FactBatch(
            torch.from_numpy(inputs), torch.from_numpy(targets), questions
        )

    def describe(self) -> dict[str, object]:
        """Describe this data as JSON values; countries and ids as hashes."""
        countries = [asdict(country) for country in self._countries]
        what = json.dumps([countries, self._ids])
        return {
            "kind": "fact book",
            "vocab_size": self.vocab_size,
            "length": self.length,
            "documents": self.documents,
            "facts": self.facts,
            "kinds": list(self.kinds),
            "seed": self.seed,
            "sha256": hashlib.sha256(what.encode()).hexdigest(),
        }

    def _row(
        self, random: np.random.Generator, split: str
    ) -> tuple[list[int], list[tuple[int, int, Question]]]:
        """Return a row's ids, and its questions with answer positions."""
        row: list[int] = []
        asked: list[tuple[int, int, Question]] = []
        for _ in range(_TRIES):
            documents, questions = self._scenes.draw(random, split)
            pieces = [piece for d in documents for piece in d.pieces()]
            more = self._encode([LINE, *pieces] if row else pieces)
            begun = False
            for question in questions:
                more += self._encode(question.pieces())
                start = len(row) + len(more)
                more += self._encode([*question.said, STOP])
                stop = len(row) + len(more)
                if stop >= self.length:
                    break
                row += [*more, *self._ids[LINE]]
                asked.append((start, stop, question))
                more, begun = [], True
            if begun and more:  # the row is full
                break
        if not asked:
            raise ValueError(
                f"length: got {self.length}, expected more: no scene of "
                f"{self.documents} documents fits with a question"
            )
        return row + self._ids[LINE] * (self.length - len(row)), asked

    def _encode(self, pieces: list[str]) -> list[int]:
        return [i for piece in pieces for i in self._ids[piece]]
