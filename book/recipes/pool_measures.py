"""Measures of a model that was trained on the mixture."""

import math
from collections import Counter
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import torch
from shot_measures import order_spreads, shot_accuracy
from torch import Tensor, nn

from minidiff import DecoderLM
from minidiff.data import FactBook, LongRows, Mixture
from minidiff.data.mixture import Shifted
from minidiff.data.tokenizers import Tokenizer
from minidiff.evaluation.activations import largest_activations
from minidiff.evaluation.answers import answer_source
from minidiff.evaluation.rounding import rounded_logits
from minidiff.training.validation import validate

TABLE_2 = ((1, 1), (2, 2), (4, 2), (6, 2))  # needles N, asked R
BITS = (16, 8, 6, 4, 3)  # of attention logits
TEXT_ROWS = 16  # for the largest activations
# Eager attention of 16 maps takes 0.5 GB per layer and stored tensor.
EAGER_ROWS = 32


def measure(
    model: DecoderLM, data: LongRows, tokenizer: Tokenizer, rows: int
) -> dict[str, Any]:
    """Return the primary measures of the pool, on ``rows`` validation rows."""
    short, long = data.short, data.long
    assert isinstance(short, Mixture) and isinstance(long, Mixture)
    long_text = validate(
        model, long.text, batches=4, batch_size=max(1, rows // 16)
    )
    text, _ = short.text.batch(0, min(rows, TEXT_ROWS), "valid")
    device = next(model.parameters()).device
    few_shot, languages = short.sources["few_shot"], short.sources["languages"]
    return {
        "long_text_loss": round(long_text.loss, 4),
        "needles": {
            f"N={n} R={r}": round(needle_accuracy(model, short, n, r, rows), 4)
            for n, r in TABLE_2
        },
        "orders": order_spreads(model, few_shot, rows),
        "language_orders": order_spreads(model, languages, rows),
        "shots": {
            "few_shot": shot_accuracy(model, few_shot, rows),
            "languages": shot_accuracy(model, languages, rows),
        },
        "facts": fact_sources(model, short, tokenizer, max(2, rows // 2)),
        "activations": largest_activations(model, text.to(device)),
        "rounding": rounding(model, short, rows),
    }


def needle_accuracy(
    model: nn.Module,
    data: Mixture,
    needles: int,
    asked: int,
    rows: int,
    parts: int = 1,
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
    return validate(
        model, shifted, batches=1, batch_size=rows, parts=parts
    ).accuracy


def rounding(
    model: DecoderLM, data: Mixture, rows: int
) -> dict[str, dict[str, float]]:
    """Measure a model whose attention logits are rounded to fewer bits."""
    eager = Eager(model)
    parts = math.ceil(rows / EAGER_ROWS)
    found = {}
    for bits in (None, *BITS):
        with rounded_logits(bits) if bits else nullcontext():
            text = validate(
                eager, data.text, batches=1, batch_size=rows, parts=parts
            )
            accuracy = needle_accuracy(eager, data, 6, 2, rows, parts)
        found[f"{bits} bits" if bits else "exact"] = {
            "text_loss": round(text.loss, 4),
            "needles": round(accuracy, 4),
        }
    return found


class Eager(nn.Module):
    """A model that stores its attention maps, for ``rounded_logits``."""

    def __init__(self, model: DecoderLM) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the logits (B, T, vocab_size)."""
        return self.model(tokens, backend="eager")


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
