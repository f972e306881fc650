"""Several kinds of rows in one batch: text, and shares of tasks."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from minidiff.data.protocol import ALL, IGNORE, DataSource, random_numbers

_CHOICE = 1  # a stream of random numbers apart from the tasks' own


@dataclass(frozen=True)
class Part:
    """A task that takes a share of a mixture's rows.

    With ``own_ids`` its token ids come after those of the text and of the
    parts before it, so that neither is taken for the other. Without, its
    rows are made of the text's own tokens.
    """

    task: DataSource
    share: float  # of the rows
    own_ids: bool = True


class Mixture:
    """Text in which some rows are tasks.

    ``sources`` holds "text" and each part by its name, to be measured by
    itself: its rows have the ids that they have in the mixture.

    A part makes only as many rows as a batch takes of it. Of the text a
    whole batch is read, and the rows that tasks replace are skipped, so that
    a window never comes twice in an epoch.

    Parameters
    ----------
    text : DataSource
        Has the rows that the parts leave.
    parts : Part
        By name, as in ``Mixture(text, needles=Part(task, 0.25))``, with rows
        as long as the text's.
    seed : int
        Decides which row is of which part. The validation rows are the same
        for every seed.
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
        """Which source each row of a batch is from, (B,).

        Numbers count ``sources`` in their order, so 0 is text.
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
        # Text may hand out views of what it holds.
        inputs, targets = (
            x.clone() for x in self.text.batch(step, batch_size, split, rows)
        )
        for number, name in enumerate(self.parts, start=1):
            mine = kinds == number
            place = (mine.cumsum() - 1)[rows][mine[rows]]  # among the part's
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
        """What makes this data itself."""
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
        """What makes this data itself."""
        return {**self.task.describe(), "first": self.first}
