"""Records of the shipped pair: what both models are asked, and the file."""

import argparse
import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from minidiff import DecoderLM, course, load
from minidiff.data import BPETokenizer, NeedleTask, standard_library
from minidiff.data.token_documents import TokenDocument
from minidiff.data.tokenizers import Tokenizer
from minidiff.files.json import write_json
from minidiff.files.provenance import provenance

KINDS = ("softmax", "diff")
TASK = NeedleTask(needles=8, questions=4, length=512, repeats=False)
TEXT_LENGTH = 512  # of a window
WINDOWS = 2  # of each document

Measure = Callable[
    [DecoderLM, Tokenizer, int, Sequence[TokenDocument]], list[dict[str, Any]]
]


def text_documents(coder: Tokenizer, count: int) -> list[TokenDocument]:
    """Return the beginnings of unseen documents of the standard library.

    Of all that are long enough for ``WINDOWS``, ``count`` are taken at equal
    steps of their alphabetical order.
    """
    documents = list(beginnings(coder))
    if len(documents) < count:
        raise ValueError(
            f"--documents: got {count}, expected at most {len(documents)}"
        )
    return documents[:: len(documents) // count][:count]


def beginnings(coder: Tokenizer) -> Iterator[TokenDocument]:
    """Yield the beginning of each document that has ``WINDOWS`` windows."""
    length = WINDOWS * TEXT_LENGTH + 1  # the first token is not predicted
    for document in standard_library().valid:
        ids = np.array(coder.encode(document.text))[:length]
        if len(ids) == length:
            size = len(coder.decode(ids.tolist()).encode())
            yield TokenDocument("python", document.path, size, ids)


def record_pair(
    measure: Measure,
    name: str,
    what: str,
    *,
    description: str | None,
    documents: int,
    arguments: Sequence[str] | None,
    **about: Any,
) -> None:
    """Read the options, measure both models and write book/results/name.json.

    ``measure`` takes a model, its tokenizer, the number of rows of needles
    and the documents, and returns the cells of its table. ``about`` holds
    further entries of the record.
    """
    parser = argparse.ArgumentParser(
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--documents", type=int, default=documents)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    coder = BPETokenizer.load(course.weights("pair_tokenizer.json"))
    texts = text_documents(coder, options.documents)
    weights, cells = {}, []
    for kind in KINDS:
        path = course.weights(f"pair_{kind}.safetensors")
        weights[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
        model = load(path).requires_grad_(False)
        table = measure(model, coder, options.rows, texts)
        cells += [{"kind": kind, **cell} for cell in table]
    write_json(
        options.out or course.root() / "book" / "results" / f"{name}.json",
        {
            "what": what,
            "provenance": provenance("cpu", f"python book/recipes/{name}.py"),
            "weights": weights,
            **about,
            "task": TASK.describe(),
            "chance": round(TASK.chance.accuracy, 4),
            "rows": options.rows,
            "documents": [document.path for document in texts],
            "text_length": TEXT_LENGTH,
            "cells": cells,
        },
    )
