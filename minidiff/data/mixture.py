"""Two kinds of rows in one batch: text, and a share of needle recall."""

import torch
from torch import Tensor

from minidiff.data.needles import NeedleTask
from minidiff.data.protocol import ALL, IGNORE, DataSource, random_numbers

_CHOICE = 1  # a stream of random numbers apart from the needles' own


class Mixture:
    """Text in which some rows are needle tasks, with token ids of their own.

    The needle task's ids come after the text's, so that neither is taken for
    the other. ``text`` and ``recall`` are the two parts, to be measured each
    by itself.

    Parameters
    ----------
    text : DataSource
    needles : NeedleTask
        With rows as long as the text's.
    share : float
        Of the rows, above 0 and below 1.
    """

    def __init__(
        self, text: DataSource, needles: NeedleTask, *, share: float
    ) -> None:
        if not 0 < share < 1:
            raise ValueError(
                f"share: got {share}, expected above 0 and below 1"
            )
        self.text, self.share = text, share
        self.recall = Recall(needles, text.vocab_size)
        self.vocab_size = self.recall.vocab_size

    def is_needle(self, step: int, batch_size: int, split: str) -> Tensor:
        """Which rows of a batch are needle tasks, bool (B,)."""
        seed = self.recall.needles.seed if split == "train" else 0
        random = random_numbers(seed, split, step, _CHOICE)
        return torch.from_numpy(random.random(batch_size) < self.share)

    def batch(
        self,
        step: int,
        batch_size: int,
        split: str = "train",
        rows: slice = ALL,
    ) -> tuple[Tensor, Tensor]:
        """Inputs and targets of one step's rows, int64 (B, T) each."""
        chosen = self.is_needle(step, batch_size, split)[rows, None]
        text = self.text.batch(step, batch_size, split, rows)
        recall = self.recall.batch(step, batch_size, split, rows)
        if recall[0].shape != text[0].shape:
            raise ValueError(
                f"needles: got rows of {recall[0].shape[1]} tokens, expected "
                f"{text[0].shape[1]} as the text's"
            )
        inputs, targets = (
            torch.where(chosen, a, b)
            for a, b in zip(recall, text, strict=True)
        )
        return inputs, targets

    def describe(self) -> dict[str, object]:
        """What makes this data itself."""
        return {
            "kind": "mixture",
            "share": self.share,
            "text": self.text.describe(),
            "needles": self.recall.needles.describe(),
        }


class Recall:
    """A needle task whose token ids begin at ``first``."""

    def __init__(self, needles: NeedleTask, first: int) -> None:
        self.needles, self.first = needles, first
        self.vocab_size = first + needles.vocab_size

    def batch(
        self,
        step: int,
        batch_size: int,
        split: str = "train",
        rows: slice = ALL,
    ) -> tuple[Tensor, Tensor]:
        """Inputs and targets of one step's rows, int64 (B, T) each."""
        inputs, targets = self.needles.batch(step, batch_size, split, rows)
        counted = targets != IGNORE
        return (
            inputs + self.first,
            torch.where(counted, targets + self.first, targets),
        )

    def describe(self) -> dict[str, object]:
        """What makes this data itself."""
        return {**self.needles.describe(), "first": self.first}
