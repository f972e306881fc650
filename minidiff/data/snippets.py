"""Snippets of text in many languages, as token ids."""

import hashlib
import json
from collections.abc import Mapping, Sequence

import numpy as np

from minidiff.data.corpus import is_held_out
from minidiff.data.protocol import SPLITS
from minidiff.data.tokenizers import Tokenizer

VALID_FRACTION = 0.2
CHARACTERS = 4_000
"""Most characters of a language that are used, to keep encoding short."""


class Snippets:
    """The token ids of each language's text, and its side of the split.

    About a fifth of the languages, chosen by a hash of the code, is for
    validation.

    Parameters
    ----------
    texts : mapping
        The paragraphs of each language, by its code.
    tokenizer : Tokenizer
    """

    def __init__(
        self, texts: Mapping[str, Sequence[str]], tokenizer: Tokenizer
    ) -> None:
        codes = sorted(texts)
        ids = tokenizer.encode_many(
            [" ".join(texts[code])[:CHARACTERS] for code in codes]
        )
        self._ids = {
            code: np.array(found, dtype=np.int32)
            for code, found in zip(codes, ids, strict=True)
        }
        self.codes = {
            split: tuple(
                code
                for code in codes
                if is_held_out(code, VALID_FRACTION) == (split == "valid")
            )
            for split in SPLITS
        }

    @property
    def sha256(self) -> str:
        """SHA-256 of all codes and token ids."""
        said = json.dumps({c: ids.tolist() for c, ids in self._ids.items()})
        return hashlib.sha256(said.encode()).hexdigest()

    def check(self, languages: int, count: int, size: int) -> None:
        """Raise ValueError if rows cannot be made of these texts.

        Each split must have so many languages, and each language must have
        ``count`` snippets of ``size`` tokens that do not overlap.
        """
        for split, codes in self.codes.items():
            if len(codes) < languages:
                raise ValueError(
                    f"texts: got {len(codes)} languages for {split!r}, "
                    f"expected at least classes = {languages}"
                )
        # The first snippet begins at any of the first ``size`` tokens.
        least = (count + 1) * size - 1
        for code, ids in self._ids.items():
            if len(ids) < least:
                raise ValueError(
                    f"texts: got {len(ids)} tokens of {code!r}, expected at "
                    f"least {least}, for {count} snippets of {size} tokens"
                )

    def draw(
        self, random: np.random.Generator, code: str, count: int, size: int
    ) -> np.ndarray:
        """Cut snippets at random that do not overlap, (count, size)."""
        ids = self._ids[code]
        first = random.integers(size)
        chosen = random.permutation((len(ids) - first) // size)[:count]
        return ids[first + chosen[:, None] * size + np.arange(size)]
