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
) -> dict[str, dict[str, Any]]:
    """Measure the accuracy over several orders, for each kind of order.

    "by_set" is from right_by_set, with a set for each eight rows and at most
    24 questions about each.
    """
    sets, asked = max(1, rows // 8), min(24, rows)
    return {
        order: {
            **order_spread(model, source, order, count, rows),
            "asked": asked,
            "by_set": right_by_set(model, source, order, count, sets, asked),
        }
        for order, count in ORDERS.items()
    }


def order_spread(
    model: DecoderLM, source: Source, order: str, count: int, rows: int
) -> dict[str, float]:
    """Measure accuracy over several orders of the same demonstrations.

    Every row has demonstrations of its own, so a good order for one is none
    for another: in a mean over rows, their effects cancel. right_by_set has
    them one by one. "best" and "worst" are means over all rows' questions;
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


@torch.no_grad()
def right_by_set(
    model: DecoderLM,
    source: Source,
    order: str,
    count: int,
    sets: int,
    asked: int,
) -> list[list[int]]:
    """Count right answers of ``asked``, by set of demonstrations and order.

    All questions of a set see its demonstrations in the same order, as in
    Figure 7 of the paper, where one set is asked many questions.
    """
    device = next(model.parameters()).device
    found = []
    for i in range(count):
        task, first = in_order(source, order, i, asked)
        sample = task.sample(0, sets, "valid")
        item = int(sample.places[1] - sample.places[0])  # tokens of an item
        end = task.classes * task.shots * item  # of the demonstrations
        until = int(sample.places[0]) + 1  # of a question, at its sign
        shown = sample.inputs[:, None, :end].expand(-1, asked, -1)
        last = sample.inputs[:, end:].view(sets, asked, item)[:, :, :until]
        rows = torch.cat([shown, last], 2).flatten(0, 1) + first
        place = torch.full((len(rows), 1), rows.shape[1] - 1)
        said = model(rows.to(device), positions=place.to(device))[:, 0]
        labels = sample.targets[:, sample.places[-asked:]] + first
        right = said.argmax(-1).cpu().view(sets, asked) == labels
        found.append(right.sum(1))
    return torch.stack(found, 1).tolist()


def in_order(
    source: Source, order: str, order_seed: int, asked: int | None = None
) -> tuple[FewShotTask | Languages, int]:
    """Return a source's task with another order, and its first token id.

    With ``asked``, it also has so many questions.
    """
    if isinstance(source, Languages):
        task = source.in_order(order, order_seed)
        return (task if asked is None else task.asking(asked)), 0
    assert isinstance(source.task, FewShotTask)
    other = replace(source.task, order=order, order_seed=order_seed)
    if asked is not None:
        other = replace(other, questions=asked)
    return other, source.first


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
