"""Data that depends on the step: a curriculum, and batches of long rows."""

from collections.abc import Sequence

from torch import Tensor

from minidiff.data.protocol import ALL, DataSource


class Curriculum:
    """Use one data source after the other, each from a given step on.

    Validation always uses the last source, so that losses of different steps
    can be compared.

    Parameters
    ----------
    stages : pairs of a step and a DataSource
        In order, the first from step 0. All use the same token ids.
    """

    def __init__(self, stages: Sequence[tuple[int, DataSource]]) -> None:
        first = [step for step, _ in stages]
        if not first or first[0] != 0 or first != sorted(set(first)):
            raise ValueError(
                f"stages: got first steps {first}, expected 0 and then larger "
                "ones"
            )
        self.stages = tuple(stages)
        self.vocab_size = stages[0][1].vocab_size
        for step, source in stages:
            if source.vocab_size != self.vocab_size:
                raise ValueError(
                    f"stages: the one from step {step} has "
                    f"{source.vocab_size} token ids, expected "
                    f"{self.vocab_size} as the first"
                )

    def batch(
        self,
        step: int,
        batch_size: int,
        split: str = "train",
        rows: slice = ALL,
    ) -> tuple[Tensor, Tensor]:
        """Inputs and targets of one step's rows, int64 (B, T) each."""
        begun = [s for first, s in self.stages if first <= step]
        source = begun[-1] if split == "train" else self.stages[-1][1]
        return source.batch(step, batch_size, split, rows)

    def describe(self) -> dict[str, object]:
        """Describe this data as JSON values; equal for equal data."""
        return {
            "kind": "curriculum",
            "stages": [[step, s.describe()] for step, s in self.stages],
        }


class LongRows:
    """Batches of short rows, and at regular steps one of fewer, longer rows.

    All batches have the same number of tokens. Validation uses short rows
    only.

    Parameters
    ----------
    short, long : DataSource
        The long rows may use fewer token ids, with the same meaning.
    times : int
        Length of a long row divided by that of a short row.
    every : int
        The last of every ``every`` steps has long rows.
    """

    def __init__(
        self, short: DataSource, long: DataSource, *, times: int, every: int
    ) -> None:
        for name, value in (("times", times), ("every", every)):
            if value < 2:
                raise ValueError(f"{name}: got {value}, expected 2 or more")
        if long.vocab_size > short.vocab_size:
            raise ValueError(
                f"long: got {long.vocab_size} token ids, expected at most "
                f"{short.vocab_size} as the short rows have"
            )
        self.short, self.long = short, long
        self.times, self.every = times, every
        self.vocab_size = short.vocab_size

    def batch(
        self,
        step: int,
        batch_size: int,
        split: str = "train",
        rows: slice = ALL,
    ) -> tuple[Tensor, Tensor]:
        """Inputs and targets of one step's rows, int64.

        (B, T) each, or (B / times, times T) at a step of long rows, which
        raises ValueError if the rows cannot be grouped by ``times``.
        """
        if split != "train" or step % self.every != self.every - 1:
            return self.short.batch(step, batch_size, split, rows)
        start, stop, _ = rows.indices(batch_size)
        for name, value in (
            ("batch_size", batch_size),
            ("rows", start),
            ("rows", stop),
        ):
            if value % self.times:
                raise ValueError(
                    f"{name}: got {value}, expected a multiple of times = "
                    f"{self.times}"
                )
        wanted = slice(start // self.times, stop // self.times)
        return self.long.batch(step, batch_size // self.times, split, wanted)

    def describe(self) -> dict[str, object]:
        """Describe this data as JSON values; equal for equal data."""
        return {
            "kind": "long rows",
            "times": self.times,
            "every": self.every,
            "short": self.short.describe(),
            "long": self.long.describe(),
        }
