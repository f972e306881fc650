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

import argparse
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from minidiff import DecoderLM, course, load
from minidiff.data import BPETokenizer, NeedleTask, standard_library
from minidiff.data.token_documents import TokenDocument
from minidiff.data.tokenizers import Tokenizer
from minidiff.evaluation.sparse_cache import (
    FRACTIONS,
    sparse_recall,
    sparse_text_loss,
)
from minidiff.files.json import write_json
from minidiff.files.provenance import provenance
from minidiff.nn.key_scores import Score, key_weights, scores_of
from minidiff.ops import AttentionMaps

KINDS = ("softmax", "diff")
TASK = NeedleTask(needles=8, questions=4, length=512, repeats=False)
TEXT_LENGTH = 512  # of a window; its first half is the prompt
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


def text_documents(coder: Tokenizer, least: int) -> list[TokenDocument]:
    """Return unseen documents of the standard library, for ``least`` tokens.

    ``least`` counts tokens; the documents are taken in their order.
    """
    documents: list[TokenDocument] = []
    for document in standard_library().valid:
        if sum(len(d.ids) for d in documents) >= least:
            break
        ids = np.array(coder.encode(document.text))
        size = len(document.text.encode())
        documents.append(TokenDocument("python", document.path, size, ids))
    return documents


def measure(
    model: DecoderLM, coder: Tokenizer, rows: int, windows: int
) -> list[dict[str, Any]]:
    """Return every cell of one model's table."""
    scores = all_scores(model.config.attention)
    documents = text_documents(coder, 4 * windows * TEXT_LENGTH)
    found = []
    for denominators in DENOMINATORS:
        control = denominators == "all keys"
        shares = FRACTIONS[1:] if control else FRACTIONS
        given: dict[str, Any] = {
            "fractions": shares,
            "keep_denominators": control,
        }
        lookup = sparse_recall(
            model, TASK, scores, first=coder.vocab_size, rows=rows, **given
        )
        text = sparse_text_loss(
            model,
            documents,
            scores,
            length=TEXT_LENGTH,
            windows=windows,
            **given,
        )
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
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--windows", type=int, default=24)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    coder = BPETokenizer.load(course.weights("pair_tokenizer.json"))
    weights, cells = {}, []
    for kind in KINDS:
        path = course.weights(f"pair_{kind}.safetensors")
        weights[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
        model = load(path).requires_grad_(False)
        table = measure(model, coder, options.rows, options.windows)
        cells += [{"kind": kind, **cell} for cell in table]
    write_json(
        options.out or course.root() / "book/results/sparse_caches.json",
        {
            "what": "the shipped pair, caches that keep a part of their keys",
            "provenance": provenance(
                "cpu", "python book/recipes/sparse_caches.py"
            ),
            "weights": weights,
            "task": TASK.describe(),
            "chance": round(TASK.chance.accuracy, 4),
            "rows": options.rows,
            "windows": options.windows,
            "text_length": TEXT_LENGTH,
            "cells": cells,
        },
    )


if __name__ == "__main__":
    main()
