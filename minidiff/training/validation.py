"""Validation: loss and accuracy on rows that the model is not trained on."""

from typing import NamedTuple

import torch

from minidiff.data.protocol import IGNORE, DataSource
from minidiff.nn.model import DecoderLM
from minidiff.training.distributed import total, world


class Validation(NamedTuple):
    """Mean loss in nats and share of targets that were the model's first."""

    loss: float
    accuracy: float


@torch.no_grad()
def validate(
    model: DecoderLM,
    data: DataSource,
    *,
    batches: int,
    batch_size: int,
    parts: int = 1,
) -> Validation:
    """Measure a model on the first validation batches: always the same.

    ``parts`` is how often a process's rows are divided, where they do not
    fit in memory at once. Of several processes every one must call it.
    """
    sums: list[torch.Tensor] = []
    rows = world().rows(batch_size)
    device = next(model.parameters()).device
    training = model.training
    model.eval()
    for step in range(batches):
        batch = data.batch(step, batch_size, "valid", rows)
        for inputs, targets in zip(
            *(x.to(device).chunk(parts) for x in batch), strict=True
        ):
            logits = model(inputs)
            loss = torch.nn.functional.cross_entropy(
                logits.flatten(0, 1).float(),
                targets.flatten(),
                ignore_index=IGNORE,
                reduction="sum",
            )
            counted = (targets != IGNORE).sum()
            # No target that does not count is an id.
            right = (logits.argmax(-1) == targets).sum()
            sums.append(torch.stack([loss, right, counted]))
    model.train(training)
    # Read once, here; whole numbers up to 2^24 are exact in float32.
    totals = torch.stack(sums).cpu().double().sum(0)
    loss, right, count = total(totals).tolist()
    return Validation(loss / count, right / count)
