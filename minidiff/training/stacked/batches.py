"""Batches of several data sources, prepared ahead of the steps in chunks."""

import math
from collections.abc import Iterable, Iterator
from itertools import chain, groupby

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from minidiff.data.protocol import IGNORE, DataSource
from minidiff.training.config import TrainConfig

CHUNK = 20  # steps whose batches are sent to the device at once


class _Batches(Dataset[list[list[Tensor]]]):
    """Chunks of consecutive steps, each with the batches of S sources."""

    def __init__(
        self,
        sources: list[DataSource],
        config: TrainConfig,
        split: str,
        steps: int,
    ) -> None:
        self._sources, self._batch_size = sources, config.batch_size
        self._split, self._steps = split, steps
        self._counted = self._count_targets()

    def __len__(self) -> int:
        return math.ceil(self._steps / CHUNK)

    def __getitem__(self, index: int) -> list[list[Tensor]]:
        """Return a chunk: one group of steps, or several if shapes change.

        A group has inputs, targets and places, each (steps, S, B, ...). If
        every row has the same small number of targets that count, only these
        are kept, and places has their positions; otherwise there are no
        places.
        """
        first = index * CHUNK
        steps = range(first, min(first + CHUNK, self._steps))
        made = map(self._batch, steps)
        return [
            self._group(first, list(group))
            for _, group in groupby(made, lambda batch: batch[0][0].shape)
        ]

    def _group(
        self, first: int, made: list[tuple[list[Tensor], list[Tensor]]]
    ) -> list[Tensor]:
        """Stack the batches of consecutive steps of one shape.

        ``first`` is the first step of their chunk, for the error message.
        """
        inputs, targets = (
            torch.stack([torch.stack(of_step) for of_step in parts])
            for parts in zip(*made, strict=True)
        )
        if self._counted is None:
            return [inputs, targets]
        ignored = targets == IGNORE
        if int((~ignored).sum(-1).max()) > self._counted:
            raise ValueError(
                f"data: a row of step {first} or soon after has more targets "
                f"that count than the {self._counted} of every row of step "
                "0, expected as many everywhere"
            )
        places = ignored.int().argsort(dim=-1, stable=True)[
            ..., : self._counted
        ]
        return [inputs, targets.take_along_dim(places, -1), places]

    def _batch(self, step: int) -> tuple[list[Tensor], list[Tensor]]:
        pairs = [
            s.batch(step, self._batch_size, self._split) for s in self._sources
        ]
        return [x for x, _ in pairs], [y for _, y in pairs]

    def _count_targets(self) -> int | None:
        """Return the targets a row has that count, None if many or varying."""
        _, targets = self._batch(0)
        rows = torch.cat(targets)
        counts = (rows != IGNORE).sum(1)
        n = int(counts[0])
        few = bool((counts == n).all()) and 0 < n <= rows.shape[1] // 2
        return n if few else None


def step_groups(
    sources: list[DataSource],
    config: TrainConfig,
    split: str,
    steps: int,
    workers: int,
) -> Iterator[list[Tensor]]:
    """Yield the batches of all steps in order, in groups of equal shape.

    ``workers`` is the number of processes that prepare them ahead; with 0
    they are made in this process.
    """
    chunks = DataLoader(
        _Batches(sources, config, split, steps),
        batch_size=None,
        num_workers=workers,
        prefetch_factor=2 if workers else None,
    )
    return chain.from_iterable(chunks)


def each_step(
    groups: Iterable[list[Tensor]], device: torch.device
) -> Iterator[list[Tensor]]:
    """Yield inputs, targets and places of each step, each (S, B, ...)."""
    for group in groups:
        yield from map(list, zip(*(x.to(device) for x in group), strict=True))


def validation(
    sources: list[DataSource], config: TrainConfig, device: torch.device
) -> list[list[Tensor]]:
    """Return the validation batches of all sources, on the device."""
    groups = step_groups(sources, config, "valid", config.eval_batches, 0)
    return list(each_step(groups, device))
