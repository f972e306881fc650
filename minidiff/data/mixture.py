"""Mixture of rows in one batch: text, with a given share of each task."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from minidiff.data.protocol import ALL, IGNORE, DataSource, random_numbers

_CHOICE = 1  # a random stream independent of those for the tasks


@dataclass(frozen=True)
class Part:
    """A task and its share of a mixture's rows.

    With ``own_ids`` its token ids come after those of the text and of the
    parts before it, so that they do not overlap. Without, its rows use the
    token ids of the text.
    """

    task: DataSource
    share: float  # of the rows
    own_ids: bool = True


class Mixture:
    """Text in which some rows are tasks.

    ``sources`` holds "text" and each part by its name, so that each can be
    measured alone, with the token ids that it has in the mixture.

    A part generates only as many rows as a batch takes of it. Of the text a
    whole batch is read, and the rows that tasks replace are dropped, so that
    no window occurs twice in an epoch.

    Parameters
    ----------
    text : DataSource
        Fills the rows that no part takes.
    parts : Part
        By name, as in ``Mixture(text, needles=Part(task, 0.25))``. Their
        rows must be as long as the text's.
    seed : int
        Decides which part each row comes from. The validation rows are the
        same for every seed.
    """

    def __init__(
        self, text: DataSource, *, seed: int = 0, **parts: Part
    ) -> None:
        for name, part in parts.items():
            if not 0 < part.share < 1:
                raise ValueError(
                    f"{name}: got share {part.share}, expected above 0 and "
                    "below 1"
                )
        total = sum(part.share for part in parts.values())
        if not parts or total >= 1:
            raise ValueError(
                f"parts: got shares of {total:g} together, expected above 0 "
                "and below 1, so that text is left"
            )
        self.text, self.seed, self.parts = text, seed, parts
        self.vocab_size = text.vocab_size
        self.sources: dict[str, DataSource] = {"text": text}
        for name, part in parts.items():
            if part.own_ids:
                self.sources[name] = Shifted(part.task, self.vocab_size)
                self.vocab_size = self.sources[name].vocab_size
            elif part.task.vocab_size == text.vocab_size:
                self.sources[name] = part.task
            else:
                raise ValueError(
                    f"{name}: got {part.task.vocab_size} token ids, expected "
                    f"{text.vocab_size} as the text's"
                )

    def kinds(
        self, step: int, batch_size: int, split: str = "train"
    ) -> np.ndarray:
        """Return the source of each row of a batch, (B,).

        Sources are numbered in the order of ``sources``, so 0 is text.
        """
        seed = self.seed if split == "train" else 0
        random = random_numbers(seed, split, step, _CHOICE)
        ends = np.cumsum([part.share for part in self.parts.values()])
        found = np.searchsorted(ends, random.random(batch_size), "right")
        return (found + 1) % len(self.sources)

    def batch(
        self,
        step: int,
        batch_size: int,
        split: str = "train",
        rows: slice = ALL,
    ) -> tuple[Tensor, Tensor]:
        """Inputs and targets of one step's rows, int64 (B, T) each."""
        kinds = self.kinds(step, batch_size, split)
        # Copy, because the text may return views of its own data.
        inputs, targets = (
            x.clone() for x in self.text.batch(step, batch_size, split, rows)
        )
        for number, name in enumerate(self.parts, start=1):
            mine = kinds == number
            place = (mine.cumsum() - 1)[rows][mine[rows]]  # within the part
            if len(place) == 0:
                continue
            wanted = slice(place[0], place[-1] + 1)
            made = self.sources[name].batch(
                step, int(mine.sum()), split, wanted
            )
            if made[0].shape[1] != inputs.shape[1]:
                raise ValueError(
                    f"{name}: got rows of {made[0].shape[1]} tokens, expected "
                    f"{inputs.shape[1]} as the text's"
                )
            here = torch.from_numpy(mine[rows])
            inputs[here], targets[here] = (x[place - place[0]] for x in made)
        return inputs, targets

    def describe(self) -> dict[str, object]:
        """Describe this data as JSON values; equal for equal data."""
        return {
            "kind": "mixture",
            "seed": self.seed,
            "shares": {n: part.share for n, part in self.parts.items()},
            **{name: s.describe() for name, s in self.sources.items()},
        }


class Shifted:
    """A task whose token ids begin at ``first``."""

    def __init__(self, task: DataSource, first: int) -> None:
        self.task, self.first = task, first
        self.vocab_size = first + task.vocab_size

    def batch(
        self,
        step: int,
        batch_size: int,
        split: str = "train",
        rows: slice = ALL,
    ) -> tuple[Tensor, Tensor]:
        """Inputs and targets of one step's rows, int64 (B, T) each."""
        inputs, targets = self.task.batch(step, batch_size, split, rows)
        counted = targets != IGNORE
        return (
            inputs + self.first,
            torch.where(counted, targets + self.first, targets),
        )

    def describe(self) -> dict[str, object]:
        """Describe this data as JSON values; equal for equal data."""
        return {**self.task.describe(), "first": self.first}
