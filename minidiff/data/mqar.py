"""Multi-query associative recall (MQAR), as the Zoology benchmark defines it.

Arora et al. 2023, "Zoology: Measuring and improving recall in efficient
language models".
"""

import math
from dataclasses import asdict, dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from minidiff.data.needles import Chance
from minidiff.data.protocol import (
    ALL,
    IGNORE,
    check_batch_size,
    count,
    random_numbers,
)
from minidiff.files.checks import number


class MQARBatch(NamedTuple):
    """A batch and its layout: N pairs in a row, each asked once.

    inputs, targets : (B, T) int64; targets are -100 except at the queries
    queries : (B, N) positions of the queried keys, in the order of the pairs
    answers : (B, N) positions of the values that they ask for
    """

    inputs: Tensor
    targets: Tensor
    queries: Tensor
    answers: Tensor


@dataclass(frozen=True, kw_only=True)
class MQARTask:
    """Key-value pairs, then every key once more as a query.

    With 2 pairs a row of 12 tokens can look like this, where a dot is a
    blank::

        k4 v8 k2 v9 k2 . . . k4 . . .   ->   v9 at the fifth, v8 at the ninth

    Token 0 is the blank, keys are the other ids of the lower half of the
    vocabulary and values are the upper half. Within a row no two pairs share
    a key or a value. With ``noise`` the blanks are tokens drawn uniformly
    from all ids. Queries follow the pairs at even positions. These are drawn
    without replacement, with probability proportional to the distance from
    the pairs to the power ``power - 1``, so that most queries are near and a
    few are far.
    """

    pairs: int = 4  # N; with length 64, the benchmark's smallest
    length: int = 64  # T
    vocab_size: int = 8192  # the benchmark's; half keys, half values
    power: float = 0.01  # the benchmark's; 1 spreads the queries evenly
    noise: bool = False  # random tokens for blanks; not used in the paper
    seed: int = 0

    def __post_init__(self) -> None:
        """Raise a ValueError that names the first bad field."""
        for name in ("pairs", "length", "vocab_size"):
            count(name, getattr(self, name), 1)
        count("seed", self.seed, 0)
        if self.length < 4 * self.pairs:
            raise ValueError(
                f"length: got {self.length}, expected at least 4 pairs = "
                f"{4 * self.pairs}: two tokens a pair and two a query"
            )
        if self.vocab_size < 2 * (self.pairs + 1):
            raise ValueError(
                f"vocab_size: got {self.vocab_size}, expected at least "
                f"{2 * (self.pairs + 1)} for {self.pairs} pairs and a blank"
            )
        if not 0 < number("power", self.power) <= 1:
            raise ValueError(
                f"power: got {self.power}, expected above 0, at most 1"
            )

    @property
    def chance(self) -> Chance:
        """Result of guessing among the row's values: ln N nats, 1/N right."""
        return Chance(math.log(self.pairs), 1 / self.pairs)

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
    ) -> MQARBatch:
        """Return a batch and the positions of its queries and answers.

        The validation rows are the same for every seed, so that runs can be
        compared.
        """
        check_batch_size(batch_size)
        seed = self.seed if split == "train" else 0
        random = random_numbers(seed, split, step)
        B, N = batch_size, self.pairs
        half = self.vocab_size // 2
        keys = 1 + _distinct(random, B, half - 1, N)
        values = half + _distinct(random, B, self.vocab_size - half, N)

        places = (self.length - 2 * N) // 2
        distance = np.arange(1, places + 1)
        # Weighted draw without replacement: take the N earliest of
        # exponential arrival times whose rates are the weights.
        arrival = random.exponential(size=(B, places))
        arrival /= distance ** (self.power - 1)
        chosen = np.argpartition(arrival, N - 1, axis=1)[:, :N]
        order = np.take_along_axis(arrival, chosen, 1).argsort(axis=1)
        queries = 2 * N + 2 * np.take_along_axis(chosen, order, 1)

        inputs = np.zeros((B, self.length), dtype=np.int64)
        targets = np.full((B, self.length), IGNORE, dtype=np.int64)
        inputs[:, 0 : 2 * N : 2] = keys
        inputs[:, 1 : 2 * N : 2] = values
        if self.noise:
            inputs[:, 2 * N :] = random.integers(
                0, self.vocab_size, (B, self.length - 2 * N)
            )
        np.put_along_axis(inputs, queries, keys, axis=1)
        np.put_along_axis(targets, queries, values, axis=1)
        answers = np.broadcast_to(1 + 2 * np.arange(N), (B, N)).copy()
        return MQARBatch(
            *(torch.from_numpy(x) for x in (inputs, targets, queries, answers))
        )

    def describe(self) -> dict[str, object]:
        """Describe this data as JSON values: all the fields."""
        return {"kind": "mqar", **asdict(self)}


def _distinct(
    random: np.random.Generator, rows: int, total: int, count: int
) -> np.ndarray:
    """Draw distinct numbers below ``total`` in each row, (rows, count)."""
    # Number i is drawn as an index into the numbers that are left, and then
    # shifted past the earlier ones. The cost, count**2 operations, does not
    # depend on total.
    drawn = np.empty((rows, count), dtype=np.int64)
    for i in range(count):
        number = random.integers(0, total - i, rows)
        for earlier in np.sort(drawn[:, :i], axis=1).T:
            number += number >= earlier
        drawn[:, i] = number
    return drawn
