"""Validation: loss and accuracy on rows that are not used for training."""

from typing import NamedTuple

import torch

from minidiff.data.protocol import IGNORE, DataSource
from minidiff.nn.model import DecoderLM
from minidiff.ops.wide import wide
from minidiff.training.distributed import total, world


class Validation(NamedTuple):
    """Mean loss in nats and share of targets that were the top prediction."""

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
    """Measure a model on the first ``batches`` validation batches.

    These are the same in every call. ``parts`` is the number of parts into
    which a process's rows are divided if they do not fit in memory at once.
    With several processes all must call this function.
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
                wide(logits).flatten(0, 1),
                targets.flatten(),
                ignore_index=IGNORE,
                reduction="sum",
            )
            counted = (targets != IGNORE).sum()
            # An ignored target never equals a token id.
            right = (logits.argmax(-1) == targets).sum()
            sums.append(torch.stack([loss, right, counted]))
    model.train(training)
    # Read from the device once. Counts up to 2^24 are exact in float32.
    totals = torch.stack(sums).cpu().double().sum(0)
    loss, right, count = total(totals).tolist()
    return Validation(loss / count, right / count)
