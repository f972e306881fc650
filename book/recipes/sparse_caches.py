"""Measure the shipped pair with caches that keep a part of their keys.

    python book/recipes/sparse_caches.py

Both models look keys up and continue text after an eviction that keeps all,
a half, a quarter or an eighth of the keys that each head has read. The rules
are StreamingLLM, H2O and SnapKV, for the differential model by each kind of
weights, and random scores as a control. SnapKV's window of 64 queries would
fill an eighth of these rows, so it is measured with a window of 16 too.
Every cell of the table is measured
twice: with an ordinary eviction, and with the values evicted but all keys
left in the denominators of the softmaxes, which shows what rescaling costs.

The lookup rows are validation rows of the needle task, in which no needle is
asked twice. The text is the part of the standard library that no training of
the course reads, of the interpreter that runs the recipe.

Writes book/results/sparse_caches.json, which names the weights by their
SHA-256. It takes about ten minutes on one CPU core. Chapter 26 reads
it.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from pair_record import TASK, TEXT_LENGTH, record_pair
from torch import Tensor

from minidiff import DecoderLM
from minidiff.data.token_documents import TokenDocument
from minidiff.data.tokenizers import Tokenizer
from minidiff.evaluation.sparse_cache import (
    FRACTIONS,
    sparse_recall,
    sparse_text_loss,
)
from minidiff.nn.key_scores import Score, key_weights, scores_of
from minidiff.ops import AttentionMaps

SHORT_WINDOW = 16
DENOMINATORS = ("kept keys", "all keys")


def all_scores(kind: str) -> dict[str, Score]:
    """Return the rules to compare: the package's, and random scores."""
    scores = scores_of(kind)
    for name, score in scores_of(kind, window=SHORT_WINDOW).items():
        if name.startswith("snapkv"):
            scores[name.replace("snapkv", f"snapkv {SHORT_WINDOW}")] = score
    generator = torch.Generator().manual_seed(0)

    def at_random(maps: AttentionMaps | Tensor) -> Tensor:
        B, H, _, S = key_weights(maps, "first").shape
        return torch.rand(B, H, S, generator=generator)

    return scores | {"random": at_random}


def text_cells(
    model: DecoderLM, documents: Sequence[TokenDocument], **given: Any
) -> list[dict[str, Any]]:
    """Return the text loss of each cell, as a mean and by document."""
    tables = [
        sparse_text_loss(model, [document], length=TEXT_LENGTH, **given)
        for document in documents
    ]
    found = []
    for of_cell in zip(*tables, strict=True):
        nats = [round(cell["nats"], 4) for cell in of_cell]
        tokens = sum(cell["tokens"] for cell in of_cell)
        accuracy = np.mean([cell["accuracy"] for cell in of_cell])
        found.append(
            {
                **of_cell[0],
                "tokens": tokens,
                "accuracy": float(accuracy),
                "nats": float(np.mean(nats)),
                "nats_by_document": nats,
            }
        )
    return found


def measure(
    model: DecoderLM,
    coder: Tokenizer,
    rows: int,
    documents: Sequence[TokenDocument],
) -> list[dict[str, Any]]:
    """Return every cell of one model's table."""
    scores = all_scores(model.config.attention)
    found = []
    for denominators in DENOMINATORS:
        control = denominators == "all keys"
        given: dict[str, Any] = {
            "scores": scores,
            "fractions": FRACTIONS[1:] if control else FRACTIONS,
            "keep_denominators": control,
        }
        lookup = sparse_recall(
            model, TASK, first=coder.vocab_size, rows=rows, **given
        )
        text = text_cells(model, documents, **given)
        for name, cells in (("lookup", lookup), ("text", text)):
            where = {"measure": name, "denominators": denominators}
            found += [where | rounded(cell) for cell in cells]
    return found


def rounded(cell: dict[str, Any]) -> dict[str, Any]:
    """Return a cell with its measured numbers rounded."""
    return {
        name: round(x, 4) if isinstance(x, float) and name != "fraction" else x
        for name, x in cell.items()
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure both models and write the record."""
    record_pair(
        measure,
        "sparse_caches",
        "the shipped pair, caches that keep a part of their keys",
        description=__doc__,
        documents=12,
        arguments=arguments,
    )


if __name__ == "__main__":
    main()
