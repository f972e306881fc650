"""Protocol of data sources: batches by number, with no hidden state."""

from typing import Protocol

import numpy as np
from torch import Tensor

SPLITS = ("train", "valid")

ALL = slice(None)

IGNORE = -100
"""Target that carries no loss: the value PyTorch's cross entropy skips."""


class DataSource(Protocol):
    """Anything that can be trained on.

    ``batch`` is a pure function of its arguments: a run that stopped at
    step n goes on at step n, and no random state has to be saved.
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

        ``rows`` are those of the batch that are wanted: of several processes
        each reads its own, and together they are the batch.
        """
        ...

    def describe(self) -> dict[str, object]:
        """What makes this data itself, as JSON; equal for equal data."""
        ...


def random_numbers(
    seed: int, split: str, step: int, *stream: int
) -> np.random.Generator:
    """Return the random numbers that belong to one batch and to no other.

    ``stream`` numbers a further use of the same batch's. Raises ValueError
    for an unknown split or a negative step or seed.
    """
    if split not in SPLITS:
        raise ValueError(f"split: got {split!r}, expected 'train' or 'valid'")
    if step < 0:
        raise ValueError(f"step: got {step}, expected 0 or more")
    if seed < 0:
        raise ValueError(f"seed: got {seed}, expected 0 or more")
    # NumPy mixes the three numbers, so that neighbouring steps and seeds
    # give unrelated streams; seed + step would make runs share batches.
    return np.random.default_rng((seed, SPLITS.index(split), step, *stream))


def choose(
    random: np.random.Generator, rows: int, total: int, count: int
) -> np.ndarray:
    """Different numbers below ``total`` in each row, (rows, count)."""
    return random.random((rows, total)).argsort(axis=1)[:, :count]


def check_batch_size(batch_size: int) -> None:
    """Raise ValueError for a batch without rows."""
    if batch_size < 1:
        raise ValueError(f"batch_size: got {batch_size}, expected 1 or more")
