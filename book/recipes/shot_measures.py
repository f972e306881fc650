"""Measures of learning from demonstrations in the row."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from minidiff import DecoderLM
from minidiff.data import FewShotBatch, FewShotTask, Languages
from minidiff.data.mixture import Shifted

ORDERS = {"random": 10, "alternating": 30}  # number of orders, as in Figure 7

Source = Shifted | Languages
"""A source of a mixture: a few-shot task with its own ids, or languages."""


def shot_accuracy(
    model: DecoderLM, source: Source, rows: int
) -> dict[str, Any]:
    """Measure the accuracy by number of earlier items of the same class.

    Every label of a row counts, also those of demonstrations. "accuracy" and
    "labels", their number, begin with no earlier item; the last group has
    ``shots`` or more. "chance" is guessing among the row's labels. Without an
    earlier item, it cannot be known which labels a row has.
    """
    task, first = in_order(source, "random", 0)
    sample = task.sample(0, rows, "valid")
    said, labels = predictions(model, sample, first, len(sample.places))
    same = sample.classes[:, :, None] == sample.classes[:, None, :]
    earlier = same.tril(-1).sum(-1).clamp(max=task.shots).to(said.device)
    groups = [
        said[earlier == n] == labels[earlier == n]
        for n in range(task.shots + 1)
    ]
    return {
        "chance": round(task.chance.accuracy, 4),
        "accuracy": [round(g.double().mean().item(), 4) for g in groups],
        "labels": [len(g) for g in groups],
    }


def order_spreads(
    model: DecoderLM, source: Source, rows: int
) -> dict[str, dict[str, float]]:
    """Measure the accuracy over several orders, for each kind of order."""
    return {
        order: order_spread(model, source, order, count, rows)
        for order, count in ORDERS.items()
    }


def order_spread(
    model: DecoderLM, source: Source, order: str, count: int, rows: int
) -> dict[str, float]:
    """Measure accuracy over several orders of the same demonstrations.

    "best" and "worst" are accuracies of a single order over all questions;
    "changed" is the share of questions whose answer depends on the order.
    """
    answers, right = [], []
    for i in range(count):
        task, first = in_order(source, order, i)
        sample = task.sample(0, rows, "valid")
        said, labels = predictions(model, sample, first, task.questions)
        answers.append(said)
        right.append((said == labels).double().mean().item())
    every = torch.stack(answers)
    changed = (every != every[0]).any(0).double().mean().item()
    found = {
        "mean": sum(right) / count,
        "best": max(right),
        "worst": min(right),
        "changed": changed,
    }
    return {name: round(value, 4) for name, value in found.items()}


def in_order(
    source: Source, order: str, order_seed: int
) -> tuple[FewShotTask | Languages, int]:
    """Return a source's task with another order, and its first token id."""
    if isinstance(source, Languages):
        return source.in_order(order, order_seed), 0
    assert isinstance(source.task, FewShotTask)
    task = replace(source.task, order=order, order_seed=order_seed)
    return task, source.first


@torch.no_grad()
def predictions(
    model: DecoderLM, sample: FewShotBatch, first: int, count: int
) -> tuple[Tensor, Tensor]:
    """Return what a model says at the last labels, and these, (B, count)."""
    device = next(model.parameters()).device
    places = sample.places[-count:].to(device)
    inputs = (sample.inputs + first).to(device)
    labels = (sample.targets + first).to(device)[:, places]
    logits = model(inputs, positions=places.expand(len(inputs), -1))
    return logits.argmax(-1), labels
