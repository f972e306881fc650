"""Rows in which languages are identified by numbers, drawn anew per row."""

import copy
import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from minidiff.data.few_shot import FewShotBatch
from minidiff.data.needles import Chance
from minidiff.data.orders import check_order, item_order
from minidiff.data.protocol import (
    ALL,
    IGNORE,
    SPLITS,
    check_batch_size,
    choose,
    random_numbers,
)
from minidiff.data.snippets import Snippets
from minidiff.data.tokenizers import Tokenizer

SEPARATOR, END = " =", "\n"  # before and after a label
LABELS = "0123456789"
_ORDER = 1  # a random stream independent of the one for the examples


class Languages:
    """Snippets of text, each followed by the number of its language.

    With 2 classes, 2 shots and 1 question a row can look like this, where
    every line is an item and the last one is a question::

        adie ne peut =7
         der Freiheit und =2
        Recht auf Arbe =2
         une personne a =7
         toute atteinte =7

    A language's number, one digit, is drawn anew for each row, so only the
    row's own examples tell which number belongs to a language (the idea of
    HELMET's many-shot tasks). There are ``shots`` demonstrations of each
    language, then questions about languages drawn at random. Every number is
    a target. Snippets of one language in a row never overlap.

    About a fifth of the languages, chosen by a hash of the code, is for
    validation: no training row has text in them. Rows use the token ids of
    the text's tokenizer, and are padded with line ends.

    Parameters
    ----------
    texts : mapping
        The paragraphs of each language, by its code.
    tokenizer : Tokenizer
    classes : int
        Languages in a row, C, at most ten.
    shots : int
        Demonstrations of each language.
    questions : int
        At the end of the row.
    snippet : int
        Tokens of text in an item.
    length : int
        Tokens in a row.
    order : str
        Of the demonstrations: "random", "sorted" by class, or with classes
        "alternating".
    seed : int
        The validation rows are the same for every seed.
    order_seed : int
        Changes only the order of the demonstrations: the row has the same
        examples and questions.
    """

    def __init__(
        self,
        texts: Mapping[str, Sequence[str]],
        tokenizer: Tokenizer,
        *,
        classes: int = 8,
        shots: int = 3,
        questions: int = 4,
        snippet: int = 16,
        length: int = 512,
        order: str = "random",
        seed: int = 0,
        order_seed: int = 0,
    ) -> None:
        self.vocab_size = tokenizer.vocab_size
        self.classes, self.shots, self.questions = classes, shots, questions
        self.snippet, self.length, self.seed = snippet, length, seed
        for name in ("classes", "shots", "questions", "snippet"):
            if getattr(self, name) < 1:
                raise ValueError(
                    f"{name}: got {getattr(self, name)}, expected 1 or more"
                )
        if classes > len(LABELS):
            raise ValueError(
                f"classes: got {classes}, expected at most {len(LABELS)}, as "
                "a label is one digit"
            )
        if seed < 0:
            raise ValueError(f"seed: got {seed}, expected 0 or more")
        self._set_order(order, order_seed)
        parts = tokenizer.encode_many([SEPARATOR, END, *LABELS])
        for text, ids in zip([END, *LABELS], parts[1:], strict=True):
            if len(ids) != 1:
                raise ValueError(
                    f"tokenizer: got {len(ids)} tokens for {text!r}, "
                    "expected one"
                )
        self._separator = parts[0]
        self._end, *self._labels = (ids[0] for ids in parts[1:])
        if length < self.items * self._item:
            raise ValueError(
                f"length: got {length}, expected at least "
                f"{self.items * self._item}: {self.items} items of "
                f"{self._item} tokens"
            )
        self._snippets = Snippets(texts, tokenizer)
        self._snippets.check(classes, shots + questions, snippet)

    @property
    def items(self) -> int:
        """Items in a row, I: demonstrations and questions."""
        return self.classes * self.shots + self.questions

    @property
    def chance(self) -> Chance:
        """Result of guessing among the row's labels: ln C nats, and 1/C."""
        return Chance(math.log(self.classes), 1 / self.classes)

    def codes(self, split: str) -> tuple[str, ...]:
        """Return the codes of the languages of "train" or "valid"."""
        return self._snippets.codes[split]

    def in_order(self, order: str, order_seed: int) -> "Languages":
        """Return the same rows with another order of the demonstrations."""
        other = copy.copy(self)
        other._set_order(order, order_seed)
        return other

    def asking(self, questions: int) -> "Languages":
        """Return a task with so many questions, in rows without padding."""
        self._snippets.check(
            self.classes, self.shots + questions, self.snippet
        )
        other = copy.copy(self)
        other.questions = questions
        other.length = other.items * other._item
        return other

    def batch(
        self,
        step: int,
        batch_size: int,
        split: str = "train",
        rows: slice = ALL,
    ) -> tuple[Tensor, Tensor]:
        """Inputs and targets of one step's rows, int64 (B, T) each."""
        sample = self.sample(step, batch_size, split)
        return sample.inputs[rows], sample.targets[rows]

    def sample(
        self, step: int, batch_size: int, split: str = "train"
    ) -> FewShotBatch:
        """Return a batch, its classes and its labels, which are token ids."""
        check_batch_size(batch_size)
        seed = self.seed if split == "train" else 0
        random = random_numbers(seed, split, step)
        B, C, S = batch_size, self.classes, self.shots
        codes = self.codes(split)
        chosen = choose(random, B, len(codes), C)
        labels = np.array(self._labels)[choose(random, B, len(LABELS), C)]
        # Demonstration n has class n % C; the questions follow.
        shown = np.tile(np.arange(C * S) % C, (B, 1))
        asked = random.integers(0, C, (B, self.questions))
        classes = np.concatenate([shown, asked], axis=1)  # (B, I)
        # No two items of a class have the same number.
        number = np.arange(self.items) // C
        number[C * S :] = S + np.arange(self.questions)

        texts = np.empty((B, self.items, self.snippet), dtype=np.int64)
        for row in range(B):
            for c in range(C):
                mine = classes[row] == c
                cut = self._snippets.draw(
                    random,
                    codes[chosen[row, c]],
                    S + self.questions,
                    self.snippet,
                )
                texts[row, mine] = cut[number[mine]]

        order = item_order(
            random_numbers(seed, split, step, _ORDER, self.order_seed),
            self.order,
            rows=B,
            classes=C,
            shots=S,
            questions=self.questions,
        )
        classes = np.take_along_axis(classes, order, axis=1)
        texts = np.take_along_axis(texts, order[:, :, None], axis=1)
        said = np.take_along_axis(labels, classes, axis=1)
        return self._batch(texts, said, classes, labels)

    def describe(self) -> dict[str, object]:
        """Describe this data as JSON values; the texts as a hash."""
        return {
            "kind": "languages",
            "vocab_size": self.vocab_size,
            "length": self.length,
            "classes": self.classes,
            "shots": self.shots,
            "questions": self.questions,
            "snippet": self.snippet,
            "order": self.order,
            "seed": self.seed,
            "order_seed": self.order_seed,
            "languages": {s: len(self.codes(s)) for s in SPLITS},
            "ids": [*self._separator, *self._labels, self._end],
            "sha256": self._snippets.sha256,
        }

    @property
    def _item(self) -> int:
        """Tokens in an item: text, separator, label and line end."""
        return self.snippet + len(self._separator) + 2

    def _set_order(self, order: str, order_seed: int) -> None:
        check_order(order)
        if order_seed < 0:
            raise ValueError(
                f"order_seed: got {order_seed}, expected 0 or more"
            )
        self.order, self.order_seed = order, order_seed

    def _batch(
        self,
        texts: np.ndarray,
        said: np.ndarray,
        classes: np.ndarray,
        labels: np.ndarray,
    ) -> FewShotBatch:
        """Join texts (B, I, snippet) and labels (B, I) into rows."""
        B = len(texts)
        shape = (B, self.items, self._item)
        items = np.full(shape, self._end, dtype=np.int64)
        items[:, :, : self.snippet] = texts
        items[:, :, self.snippet : -2] = self._separator
        items[:, :, -2] = said
        inputs = np.full((B, self.length), self._end, dtype=np.int64)
        inputs[:, : self.items * self._item] = items.reshape(B, -1)
        places = np.arange(1, self.items + 1) * self._item - 3
        targets = np.full_like(inputs, IGNORE)
        targets[:, places] = said
        parts = inputs, targets, places, classes, labels
        return FewShotBatch(*(torch.from_numpy(part) for part in parts))
