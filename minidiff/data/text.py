"""Language modelling: random windows of a long sequence of tokens."""

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from minidiff.data.corpus import Corpus, Document
from minidiff.data.protocol import (
    ALL,
    check_batch_size,
    count,
    random_numbers,
)
from minidiff.data.tokenizers import Tokenizer


class TextData:
    """Windows of ``length`` tokens; the target of a token is the next one.

    Parameters
    ----------
    train, valid : (N,) integers
        The two sides of a corpus as token ids, each longer than ``length``.
    vocab_size : int
        Number of token ids.
    length : int
        Tokens T in a window.
    seed : int
        Decides which windows each training step uses. The validation
        windows are the same for every seed, so that runs can be compared.
    """

    def __init__(
        self,
        train: Sequence[int] | Tensor,
        valid: Sequence[int] | Tensor,
        *,
        vocab_size: int,
        length: int,
        seed: int = 0,
    ) -> None:
        count("length", length, 1)
        count("seed", seed, 0)
        self._sides = {
            "train": _tokens("train", train, vocab_size, length),
            "valid": _tokens("valid", valid, vocab_size, length),
        }
        self.vocab_size = vocab_size
        self.length = length
        self.seed = seed

    @classmethod
    def from_corpus(
        cls,
        corpus: Corpus,
        tokenizer: Tokenizer,
        *,
        length: int,
        seed: int = 0,
    ) -> "TextData":
        """Tokenize both sides of a corpus, an empty line between documents."""
        return cls(
            _encode(corpus.train, tokenizer),
            _encode(corpus.valid, tokenizer),
            vocab_size=tokenizer.vocab_size,
            length=length,
            seed=seed,
        )

    def size(self, split: str) -> int:
        """Number of tokens on one side, "train" or "valid"."""
        return len(self._sides[split])

    def batch(
        self,
        step: int,
        batch_size: int,
        split: str = "train",
        rows: slice = ALL,
    ) -> tuple[Tensor, Tensor]:
        """Inputs and targets of one step's rows, int64 (B, T) each."""
        check_batch_size(batch_size)
        seed = self.seed if split == "train" else 0
        random = random_numbers(seed, split, step)
        tokens = self._sides[split]
        starts = random.integers(0, len(tokens) - self.length, batch_size)
        places = starts[rows, None] + np.arange(self.length + 1)
        windows = tokens[places]
        pairs = torch.from_numpy(windows.astype(np.int64))  # (B, T + 1)
        return pairs[:, :-1].contiguous(), pairs[:, 1:].contiguous()

    def describe(self) -> dict[str, object]:
        """Describe this data as JSON values; the tokens as a hash."""
        digest = hashlib.sha256()
        for tokens in self._sides.values():
            digest.update(tokens.tobytes())
        return {
            "kind": "text",
            "vocab_size": self.vocab_size,
            "length": self.length,
            "seed": self.seed,
            "train_tokens": self.size("train"),
            "valid_tokens": self.size("valid"),
            "sha256": digest.hexdigest(),
        }


def _encode(documents: tuple[Document, ...], tokenizer: Tokenizer) -> Tensor:
    parts = [
        torch.tensor(tokenizer.encode(d.text + "\n\n"), dtype=torch.int32)
        for d in documents
    ]
    return torch.cat(parts) if parts else torch.empty(0, dtype=torch.int32)


def _tokens(
    name: str, tokens: Sequence[int] | Tensor, vocab_size: int, length: int
) -> np.ndarray:
    array = np.asarray(tokens)
    if array.ndim != 1 or not np.issubdtype(array.dtype, np.integer):
        raise ValueError(
            f"{name}: got shape {array.shape} of {array.dtype}, expected "
            "(N,) integers"
        )
    if len(array) <= length:
        raise ValueError(
            f"{name}: got {len(array)} tokens, expected more than "
            f"length = {length}"
        )
    if array.min() < 0 or array.max() >= vocab_size:
        raise ValueError(
            f"{name}: got token ids {array.min()} to {array.max()}, expected "
            f"0 to {vocab_size - 1}"
        )
    # int32 takes half the memory of int64 and is enough for any vocabulary.
    return array.astype(np.int32)
