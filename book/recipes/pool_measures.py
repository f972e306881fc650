"""Measures of a model that was trained on the mixture."""

from collections import Counter
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from minidiff import DecoderLM
from minidiff.data import FactBook, LongRows, Mixture
from minidiff.data.fact_scenes import NOT_STATED, Question
from minidiff.data.mixture import Shifted
from minidiff.data.tokenizers import Tokenizer
from minidiff.training.validation import validate

TABLE_2 = ((1, 1), (2, 2), (4, 2), (6, 2))  # needles N, asked R
ORDERS = {"random": 10, "alternating": 30}  # number of orders, as in Figure 7


def measure(
    model: DecoderLM, data: LongRows, tokenizer: Tokenizer, rows: int
) -> dict[str, Any]:
    """Return the primary measures of the pool, on ``rows`` validation rows."""
    short, long = data.short, data.long
    assert isinstance(short, Mixture) and isinstance(long, Mixture)
    long_text = validate(
        model, long.text, batches=4, batch_size=max(1, rows // 16)
    )
    return {
        "long_text_loss": round(long_text.loss, 4),
        "needles": {
            f"N={n} R={r}": round(needle_accuracy(model, short, n, r, rows), 4)
            for n, r in TABLE_2
        },
        "orders": {
            order: order_spread(model, short, order, count, rows)
            for order, count in ORDERS.items()
        },
        "facts": fact_sources(model, short, tokenizer, max(2, rows // 2)),
    }


def needle_accuracy(
    model: DecoderLM, data: Mixture, needles: int, asked: int, rows: int
) -> float:
    """Return the share of right answers; no needle is asked twice."""
    source = data.sources["needles"]
    task = replace(
        source.task.stages[-1][1],
        needles=needles,
        questions=asked,
        repeats=False,
    )
    shifted = Shifted(task, source.first)
    return validate(model, shifted, batches=1, batch_size=rows).accuracy


@torch.no_grad()
def order_spread(
    model: DecoderLM, data: Mixture, order: str, count: int, rows: int
) -> dict[str, float]:
    """Measure accuracy over several orders of the same demonstrations.

    "best" and "worst" are accuracies of a single order over all questions;
    "changed" is the share of questions whose answer depends on the order.
    """
    source = data.sources["few_shot"]
    device = next(model.parameters()).device
    answers, right = [], []
    for i in range(count):
        task = replace(source.task, order=order, order_seed=i)
        sample = task.sample(0, rows, "valid")
        places = sample.places[-task.questions :].to(device)
        inputs = (sample.inputs + source.first).to(device)
        labels = (sample.targets + source.first).to(device)[:, places]
        logits = model(inputs, positions=places.expand(rows, -1))
        answers.append(logits.argmax(-1))
        right.append((answers[-1] == labels).double().mean().item())
    said = torch.stack(answers)
    changed = (said != said[0]).any(0).double().mean().item()
    found = {
        "mean": sum(right) / count,
        "best": max(right),
        "worst": min(right),
        "changed": changed,
    }
    return {name: round(value, 4) for name, value in found.items()}


def fact_sources(
    model: DecoderLM, data: Mixture, tokenizer: Tokenizer, rows: int
) -> dict[str, dict[str, float]]:
    """Return where answers to questions about the fact book come from.

    For each kind of question, returns the shares of answers that are right,
    from another document, from the real world, "not stated" although it is
    stated, and none of these.
    """
    book = data.sources["facts"]
    assert isinstance(book, FactBook)
    sample = book.sample(0, rows, "valid")
    counts: dict[str, Counter[str]] = {}
    # Generate lists separately, because they are several times as long.
    for lists in (False, True):
        group = [
            asked
            for asked in sample.questions
            if (asked.question.kind == "list") == lists
        ]
        prompts = [sample.inputs[a.row, : a.start] for a in group]
        longest = max((a.stop - a.start for a in group), default=0)
        for asked, ids in zip(
            group, greedy(model, prompts, longest), strict=True
        ):
            text = tokenizer.decode(ids.tolist()).partition(".")[0]
            of_kind = counts.setdefault(asked.question.kind, Counter())
            source = answer_source(asked.question, text.removeprefix(" "))
            of_kind[source] += 1
    return {
        kind: {"questions": n.total()}
        | {name: round(count / n.total(), 4) for name, count in n.items()}
        for kind, n in sorted(counts.items())
    }


def answer_source(question: Question, text: str) -> str:
    """Name the source of an answer."""
    if text == question.answer:
        return "right"
    if text in question.others:
        return "another document"
    if text == question.memory:
        return "memory"
    return NOT_STATED if text == NOT_STATED else "nowhere"


@torch.no_grad()
def greedy(
    model: DecoderLM, prompts: list[Tensor], count: int, at_once: int = 64
) -> list[Tensor]:
    """Continue each prompt by the most likely tokens, (count,) each.

    Prompts are padded to one length. Because attention is causal, padding
    after a prompt does not affect it.
    """
    device = next(model.parameters()).device
    found = []
    for first in range(0, len(prompts), at_once):
        group = prompts[first : first + at_once]
        ends = torch.tensor([[len(p)] for p in group], device=device)
        size = len(group), int(ends.max()) + count
        rows = torch.zeros(size, dtype=torch.int64, device=device)
        for row, prompt in zip(rows, group, strict=True):
            row[: len(prompt)] = prompt
        for i in range(count):
            logits = model(rows, positions=ends + i - 1)
            rows.scatter_(1, ends + i, logits.argmax(-1))
        places = ends + torch.arange(count, device=device)
        found += rows.take_along_dim(places, 1).cpu()
    return found
