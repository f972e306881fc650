"""Validation: loss and accuracy on rows that are not used for training."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from minidiff.data.protocol import IGNORE, DataSource
from minidiff.nn.model import DecoderLM
from minidiff.nn.modes import in_mode
from minidiff.ops.wide import wide
from minidiff.training.distributed import total, world


class Validation(NamedTuple):
    """Mean loss in nats and share of targets that were the top prediction."""

    loss: float
    accuracy: float


class Measure(nn.Module):
    """A model's sums over targets, as a module that can be compiled."""

    def __init__(self, model: DecoderLM, backend: str = "auto") -> None:
        super().__init__()
        self.model = model
        self._backend = backend_for(model, backend)

    def forward(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Return loss in nats, right predictions and targets that count, (3,).

        inputs and targets are (B, T).
        """
        # Any module that maps ids to logits can be measured with "auto".
        if self._backend == "auto":
            logits = self.model(inputs)
        else:
            logits = self.model(inputs, backend=self._backend)
        loss = cross_entropy(
            wide(logits).flatten(0, 1),
            targets.flatten(),
            ignore_index=IGNORE,
            reduction="sum",
        )
        counted = (targets != IGNORE).sum()
        # An ignored target never equals a token id.
        right = (logits.argmax(-1) == targets).sum()
        return torch.stack([loss, right, counted])


def backend_for(model: DecoderLM, backend: str) -> str:
    """Return the backend of a model; the option is for differential ones."""
    if backend == "auto":
        return backend
    return "auto" if model.config.attention == "softmax" else backend


@torch.no_grad()
def validate(
    model: DecoderLM,
    data: DataSource,
    *,
    batches: int,
    batch_size: int,
    parts: int = 1,
    measure: Callable[..., Tensor] | None = None,
) -> Validation:
    """Measure a model on the first ``batches`` validation batches.

    These are the same in every call. ``parts`` is the number of parts into
    which a process's rows are divided if they do not fit in memory at once.
    ``measure`` is the model's :class:`Measure`, with a backend or compiled.
    With several processes all must call this function.

    Raises ValueError if no target of these batches counts.
    """
    sums: list[Tensor] = []
    rows = world().rows(batch_size)
    device = next(model.parameters()).device
    measure = measure or Measure(model)
    with in_mode(model, training=False):
        for step in range(batches):
            batch = data.batch(step, batch_size, "valid", rows)
            for inputs, targets in zip(
                *(x.to(device).chunk(parts) for x in batch), strict=True
            ):
                sums.append(measure(inputs, targets))
    # Read from the device once. Counts up to 2^24 are exact in float32.
    totals = torch.stack(sums).cpu().double().sum(0)
    loss, right, count = total(totals).tolist()
    if count == 0:
        raise ValueError(
            f"data: every target of the first {batches} validation batches "
            f"is {IGNORE}, expected at least one that counts"
        )
    return Validation(loss / count, right / count)
