"""Needle recall: key-value pairs hidden in noise, questions at the end."""

import math
from dataclasses import asdict, dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from minidiff.data.protocol import (
    ALL,
    IGNORE,
    check_batch_size,
    choose,
    count,
    random_numbers,
)


class NeedleBatch(NamedTuple):
    """A batch and its layout, with Q questions and N needles in a row.

    inputs, targets : (B, T) int64; targets are -100 except at the questions
    questions : (Q,) positions of the asked keys, the same in every row
    needles : (B, N) positions of the values in the noise, left to right
    answers : (B, Q) position of the value that each question asks for
    """

    inputs: Tensor
    targets: Tensor
    questions: Tensor
    needles: Tensor
    answers: Tensor


class Chance(NamedTuple):
    """Loss and accuracy of guessing, without looking up any key."""

    loss: float
    accuracy: float


@dataclass(frozen=True, kw_only=True)
class NeedleTask:
    """Key-value pairs hidden in random tokens; some keys are asked again.

    With 2 needles and 1 question a row of 12 tokens can look like this,
    where k is a key, v a value and a dot noise::

        . . k7 v3 . . . k2 v9 . . k7   ->   v3

    Keys, values and noise are three separate sets of ids, in this order. In
    one row no two needles share a key or a value. With ``repeats`` the needle
    of each question is drawn independently, so earlier answers tell nothing
    about later ones. Without, no needle is asked twice: after N - 1
    questions, the last answer can be found by elimination.
    """

    needles: int = 2  # N; with fewer there is no choice
    questions: int = 1  # Q; with one, the row is nearly all noise
    length: int = 64  # T; a step takes about 50 ms on two cores
    keys: int = 64  # ids; several times N
    values: int = 64  # ids; as many as keys
    noise: int = 128  # ids; 256 with the others, as for bytes
    repeats: bool = True  # questions are independent
    seed: int = 0

    def __post_init__(self) -> None:
        """Raise a ValueError that names the first bad field."""
        for name in (
            *("needles", "questions", "noise"),
            *("keys", "values", "length"),
        ):
            count(name, getattr(self, name), 1)
        count("seed", self.seed, 0)
        for name in ("keys", "values"):
            if getattr(self, name) < self.needles:
                raise ValueError(
                    f"{name}: got {getattr(self, name)}, expected at least "
                    f"needles = {self.needles}, as no two needles share one"
                )
        least = 2 * self.needles + 2 * self.questions - 1
        if self.length < least:
            raise ValueError(
                f"length: got {self.length}, expected at least {least} for "
                f"{self.needles} needles and {self.questions} questions"
            )
        if not self.repeats and self.questions > self.needles:
            raise ValueError(
                f"questions: got {self.questions} without repeats, expected "
                f"at most needles = {self.needles}"
            )

    @property
    def vocab_size(self) -> int:
        """Number of token ids; every id is below it."""
        return self.keys + self.values + self.noise

    @property
    def chance(self) -> Chance:
        """Result of guessing among the row's needles: ln N nats, 1/N right.

        Without repeats, of guessing among the needles not asked yet, as a
        mean over the questions. A model reaches this level when it attends
        to values only and not to noise. To do better it must look up keys.
        """
        gone = [0 if self.repeats else q for q in range(self.questions)]
        left = [self.needles - n for n in gone]
        return Chance(
            sum(math.log(n) for n in left) / len(left),
            sum(1 / n for n in left) / len(left),
        )

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
    ) -> NeedleBatch:
        """Return a batch and the positions of its needles and answers.

        The validation rows are the same for every seed, so that runs can be
        compared.
        """
        check_batch_size(batch_size)
        seed = self.seed if split == "train" else 0
        random = random_numbers(seed, split, step)
        B, N, Q = batch_size, self.needles, self.questions
        # One token more than the inputs, as the last answer is only a target.
        haystack = self.length + 1 - 2 * Q
        row = np.arange(B)[:, None]

        tokens = random.integers(
            self.keys + self.values, self.vocab_size, (B, self.length + 1)
        )
        keys = choose(random, B, self.keys, N)
        values = self.keys + choose(random, B, self.values, N)
        # Draw positions below haystack - N, then shift each by the needles
        # before it, so that pairs do not overlap.
        places = np.sort(choose(random, B, haystack - N, N)) + np.arange(N)
        tokens[row, places] = keys
        tokens[row, places + 1] = values

        if self.repeats:
            asked = random.integers(0, N, (B, Q))
        else:
            asked = choose(random, B, N, Q)
        questions = haystack + 2 * np.arange(Q)
        tokens[:, questions] = keys[row, asked]
        tokens[:, questions + 1] = values[row, asked]
        targets = np.full((B, self.length), IGNORE)
        targets[:, questions] = tokens[:, questions + 1]
        parts = (
            tokens[:, :-1].copy(),
            targets,
            questions,
            places + 1,
            places[row, asked] + 1,
        )
        return NeedleBatch(*(torch.from_numpy(part) for part in parts))

    def describe(self) -> dict[str, object]:
        """Describe this data as JSON values: all the fields."""
        return {"kind": "needles", **asdict(self)}
