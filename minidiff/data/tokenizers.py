"""Tokenizers: text to token ids and back, by bytes or byte pairs (BPE)."""

import hashlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from minidiff.data.decoding import decoded
from minidiff.data.tokenizer_file import read_tokenizer
from minidiff.data.unicode import without_surrogates
from minidiff.files.atomic import write_text
from minidiff.files.extras import need
from minidiff.files.limits import MOST_TOKENS

if TYPE_CHECKING:
    import tokenizers as hf


class Tokenizer(Protocol):
    """Interface of tokenizers: ``decode(encode(text)) == text``.

    This holds for every text, except that lone surrogates, which UTF-8 does
    not have, become U+FFFD.
    """

    @property
    def vocab_size(self) -> int:
        """Number of token ids; every id is below it."""
        ...

    def encode(self, text: str) -> list[int]:
        """Token ids of a text."""
        ...

    def encode_many(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each of several texts."""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """Text of token ids.

        Bytes that are not UTF-8 become U+FFFD, and so do ids from vocab_size
        on, which a model may have for other tasks. Raises ValueError or
        TypeError, naming its place, for an id that is not an int from 0 on.
        """
        ...


class ByteTokenizer:
    """A token for each byte of the UTF-8 text: nothing to train or store."""

    vocab_size = 256

    def encode(self, text: str) -> list[int]:
        """Token ids of a text: its UTF-8 bytes."""
        return list(without_surrogates(text).encode())

    def encode_many(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each of several texts."""
        return [self.encode(text) for text in texts]

    def decode(self, ids: Sequence[int]) -> str:
        """Text of token ids: see :meth:`Tokenizer.decode`."""
        return decoded(ids, self.vocab_size, self._known)

    @staticmethod
    def _known(ids: list[int]) -> str:
        return bytes(ids).decode(errors="replace")


class BPETokenizer:
    """Byte-level byte-pair encoding (Sennrich et al. 2016).

    Starts from the 256 bytes and merges the most frequent pairs of
    neighbours. So frequent words become one token, and any other text can
    still be encoded exactly.
    """

    def __init__(
        self, tokenizer: "hf.Tokenizer", text: str | None = None
    ) -> None:
        self._tokenizer = tokenizer
        # As in its file, because another version of the library may write
        # the same tokenizer differently.
        self._text = tokenizer.to_str() if text is None else text

    @classmethod
    def train(
        cls, texts: Iterable[str], vocab_size: int = 4096
    ) -> "BPETokenizer":
        """Learn merges from texts until there are ``vocab_size`` tokens.

        The result can be smaller if the text has few repeated pairs. Raises
        ValueError if ``vocab_size`` is below 256, the number of bytes, or
        above ``MOST_TOKENS``.
        """
        if not 256 <= vocab_size <= MOST_TOKENS:
            raise ValueError(
                f"vocab_size: got {vocab_size}, expected 256 to "
                f"{MOST_TOKENS}: the bytes are in every byte-level vocabulary"
            )
        if isinstance(texts, str):
            raise TypeError(
                "texts: got str, expected several texts, as [text]; its "
                "letters would be the texts"
            )
        need("tokenizers", "a tokenizer of byte pairs")
        import tokenizers as hf

        tokenizer = hf.Tokenizer(hf.models.BPE())
        byte_level = hf.pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.pre_tokenizer = byte_level
        tokenizer.decoder = hf.decoders.ByteLevel()
        trainer = hf.trainers.BpeTrainer(
            vocab_size=vocab_size,
            initial_alphabet=hf.pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        tokenizer.train_from_iterator(map(without_surrogates, texts), trainer)
        return cls(tokenizer)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "BPETokenizer":
        """Read a tokenizer that ``save`` wrote.

        Raises ValueError, naming the file, if it is not such a tokenizer.
        """
        return cls(*read_tokenizer(Path(path)))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the vocabulary and merges as JSON."""
        write_text(Path(path), self._text)

    @property
    def sha256(self) -> str:
        """SHA-256 of the vocabulary and merges, as ``save`` writes them."""
        return hashlib.sha256(self._text.encode()).hexdigest()

    @property
    def vocab_size(self) -> int:
        """Number of token ids; every id is below it."""
        return self._tokenizer.get_vocab_size()

    def encode(self, text: str) -> list[int]:
        """Token ids of a text."""
        return self._tokenizer.encode(without_surrogates(text)).ids

    def encode_many(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each of several texts, on all cores."""
        whole = [without_surrogates(text) for text in texts]
        return [e.ids for e in self._tokenizer.encode_batch_fast(whole)]

    def decode(self, ids: Sequence[int]) -> str:
        """Text of token ids: see :meth:`Tokenizer.decode`."""
        return decoded(ids, self.vocab_size, self._known)

    def _known(self, ids: list[int]) -> str:
        return self._tokenizer.decode(ids, skip_special_tokens=False)
