"""Protocol of data sources: batches by number, with no hidden state."""

from typing import Protocol

import numpy as np
from torch import Tensor

from minidiff.files.checks import LARGEST_COUNT, integer

SPLITS = ("train", "valid")

ALL = slice(None)

IGNORE = -100
"""Target without a loss: the value that PyTorch's cross entropy ignores."""


class DataSource(Protocol):
    """Interface of all training data.

    ``batch`` is a pure function of its arguments. So a run that stopped at
    step n can resume at step n without a saved random state.
    """

    @property
    def vocab_size(self) -> int:
        """Number of token ids; every id is below it."""
        ...

    def batch(
        self,
        step: int,
        batch_size: int,
        split: str = "train",
        rows: slice = ALL,
    ) -> tuple[Tensor, Tensor]:
        """Inputs and targets of one step, int64 (B, T) each.

        ``rows`` selects rows of the batch: with several processes, each
        reads its own rows, and together these make up the batch.
        """
        ...

    def describe(self) -> dict[str, object]:
        """Describe this data as JSON values; equal for equal data."""
        ...


def random_numbers(
    seed: int, split: str, step: int, *stream: int
) -> np.random.Generator:
    """Return a random generator for one batch, independent of all others.

    Integers in ``stream`` give further independent generators for the same
    batch. Raises ValueError for an unknown split or a negative step or seed.
    """
    if split not in SPLITS:
        raise ValueError(f"split: got {split!r}, expected 'train' or 'valid'")
    if step < 0:
        raise ValueError(f"step: got {step}, expected 0 or more")
    if seed < 0:
        raise ValueError(f"seed: got {seed}, expected 0 or more")
    # NumPy hashes the numbers, so that neighbouring steps and seeds give
    # unrelated streams. With seed + step, runs would share batches.
    return np.random.default_rng((seed, SPLITS.index(split), step, *stream))


def choose(
    random: np.random.Generator, rows: int, total: int, count: int
) -> np.ndarray:
    """Draw distinct numbers below ``total`` in each row, (rows, count)."""
    return random.random((rows, total)).argsort(axis=1)[:, :count]


def check_batch_size(batch_size: int) -> None:
    """Raise TypeError or ValueError unless it is a whole number from 1 on."""
    count("batch_size", batch_size, 1)


def count(name: str, value: int, low: int) -> None:
    """Raise TypeError or ValueError unless value is an int from low on.

    Also for integers of NumPy, which sizes of arrays often are.
    """
    if isinstance(value, np.integer):
        value = int(value)
    integer(name, value, low, LARGEST_COUNT)
