"""Language modelling from token files: every window once per epoch."""

import os

import numpy as np
import torch
from torch import Tensor

from minidiff.data.protocol import (
    ALL,
    check_batch_size,
    count,
    random_numbers,
)
from minidiff.data.token_files import open_tokens


class TokenData:
    """Windows of ``length`` tokens from a folder that ``write_tokens`` made.

    The windows do not overlap, and each epoch goes through all of them in a
    random order of its own. So row n of a training run is the same for any
    batch size, and n alone gives the position in the data.

    Parameters
    ----------
    folder : path
    length : int
        Tokens T in a window; the target of a token is the next one.
    seed : int
        Decides the order of the training windows. The validation windows
        are the same for every seed, so that runs can be compared.
    """

    def __init__(
        self, folder: str | os.PathLike[str], *, length: int, seed: int = 0
    ) -> None:
        count("length", length, 1)
        count("seed", seed, 0)
        self.card, self._sides = open_tokens(folder)
        for side, tokens in self._sides.items():
            if len(tokens) <= length:
                raise ValueError(
                    f"{folder}: {side} has {len(tokens)} tokens, expected "
                    f"more than length = {length}"
                )
        self.folder, self.length, self.seed = folder, length, seed
        self.vocab_size: int = self.card["vocab_size"]
        self._orders: dict[tuple[str, int, int], np.ndarray] = {}

    def size(self, split: str) -> int:
        """Number of tokens on one side, "train" or "valid"."""
        return len(self._sides[split])

    def windows(self, split: str) -> int:
        """Number of windows on one side, which is the rows of an epoch."""
        return (self.size(split) - 1) // self.length

    def batch(
        self,
        step: int,
        batch_size: int,
        split: str = "train",
        rows: slice = ALL,
    ) -> tuple[Tensor, Tensor]:
        """Inputs and targets of one step's rows, int64 (B, T) each.

        Only the requested rows are read from disk.
        """
        check_batch_size(batch_size)
        first = step * batch_size
        numbers = np.arange(first, first + batch_size)[rows]
        starts = self.length * self._window(numbers, split)
        tokens = self._sides[split]
        windows = np.stack(
            [tokens[start : start + self.length + 1] for start in starts]
        )  # (B, T + 1)
        if windows.max() >= self.vocab_size:
            raise ValueError(
                f"{self.folder}: got token id {windows.max()} in {split}, "
                f"expected 0 to {self.vocab_size - 1}: the file is damaged"
            )
        pairs = torch.from_numpy(windows.astype(np.int64))
        return pairs[:, :-1].contiguous(), pairs[:, 1:].contiguous()

    def describe(self) -> dict[str, object]:
        """Describe this data as JSON values; the tokens as hashes."""
        return {
            "kind": "tokens",
            "vocab_size": self.vocab_size,
            "length": self.length,
            "seed": self.seed,
            **{side: self.card[side]["sha256"] for side in self._sides},
        }

    def _window(self, numbers: np.ndarray, split: str) -> np.ndarray:
        """Return the window of each row, numbered over all epochs."""
        epochs, places = np.divmod(numbers, self.windows(split))
        found = np.empty_like(numbers)
        for epoch in np.unique(epochs):
            here = epochs == epoch
            found[here] = self._order(split, int(epoch))[places[here]]
        return found

    def _order(self, split: str, epoch: int) -> np.ndarray:
        seed = self.seed if split == "train" else 0
        key = split, seed, epoch
        if key not in self._orders:
            # A batch rarely reaches into more than two epochs, so keep few.
            while len(self._orders) > 3:
                del self._orders[next(iter(self._orders))]
            random = random_numbers(seed, split, epoch)
            self._orders[key] = random.permutation(self.windows(split))
        return self._orders[key]
