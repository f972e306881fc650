"""Evaluation suite: every measure of one model, as one record."""

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from minidiff.data.mqar import MQARTask
from minidiff.data.needles import NeedleTask
from minidiff.data.token_documents import TokenDocument
from minidiff.evaluation.activations import largest_activations
from minidiff.evaluation.attention import (
    answer_attention,
    map_shape,
    place_attention,
    summary,
)
from minidiff.evaluation.causality import assert_causal
from minidiff.evaluation.loss import ALL, document_losses, text_windows
from minidiff.evaluation.recall import (
    Questions,
    draw_questions,
    effective_length,
    recall,
)
from minidiff.evaluation.rounding import rounded_logits
from minidiff.files.checks import positive_int
from minidiff.files.provenance import provenance
from minidiff.nn.attention import MultiheadDiffAttention
from minidiff.nn.model import DecoderLM
from minidiff.nn.modes import in_mode

PARTS = ("loss", "recall", "attention", "activations", "rounding")
BITS = (16, 8, 6, 4, 3)
FEWER = 4  # divides rows and windows for measures that need full maps

Task = NeedleTask | MQARTask


def evaluate(
    model: DecoderLM,
    *,
    documents: Iterable[TokenDocument] | None = None,
    counts: np.ndarray | None = None,
    tasks: Sequence[Task] = (),
    first: int | None = None,
    parts: Sequence[str] = PARTS,
    length: int | None = None,
    windows: int | None = 16,
    rows: int = 16,
    batch_size: int = 8,
    bits: Sequence[int] = BITS,
    command: str = "minidiff.evaluate",
) -> dict[str, Any]:
    """Measure a model, and return all results as one record.

    The model is always checked to be causal first. It is in evaluation mode
    while it is measured, and afterwards in its own mode again.

    Parameters
    ----------
    model : DecoderLM
        Of any kind, on any device.
    documents : TokenDocuments, optional
        Held-out text, by domain.
    counts : (V,) integers, optional
        Occurrences of tokens in training, for the loss by frequency:
        :func:`minidiff.data.token_counts`.
    tasks : needle or MQAR tasks
        Each is a cell of the recall table. Attention and rounding are
        measured on the first task too.
    first : int, optional
        First token id of the tasks; by default their ids are the model's last.
    parts : names from ``PARTS``
        "loss" needs documents and "recall" needs tasks; the other parts use
        what is given. A part with nothing to measure is left out.
    length : int, optional
        Tokens in a window of text; the model's own if not given.
    windows : int or None
        Windows of text of each domain; all of them if None.
    rows : int
        Rows of each task. Maps, activations and rounding use a quarter of
        the windows and rows.
    batch_size : int
        Rows in a batch.
    bits : numbers of bits to which attention logits are rounded
    command : str
        Command to be stored in the record.

    Returns
    -------
    A dict that JSON can hold: "provenance", "model" (its configuration),
    "parameters", "lam" (of each V1 layer), "seconds" by part, "causality",
    and each part under its own name. "recall" has "cells", as
    :func:`minidiff.evaluation.recall.recall` returns them, and "effective",
    the effective length of tasks that have several lengths.

    Raises
    ------
    ValueError
        If the model is not causal, there is nothing to measure, a part is
        unknown, or a text or task does not fit the model. If another thread
        trains the model.
    """
    unknown = [part for part in parts if part not in PARTS]
    if unknown:
        raise ValueError(
            f"parts: got {unknown[0]!r}, expected some of {PARTS}"
        )
    for name, value in (("rows", rows), ("batch_size", batch_size)):
        positive_int(name, value)
    for name, chosen in (("length", length), ("windows", windows)):
        if chosen is not None:
            positive_int(name, chosen)
    texts = list(documents or ())
    if not texts and not tasks:
        raise ValueError(
            "documents, tasks: got neither, expected text, tasks or both"
        )
    device = next(model.parameters()).device
    T = model.config.max_length if length is None else length
    few = _Few(model, texts, tasks, first, T, windows, rows, batch_size)
    record: dict[str, Any] = {
        "provenance": provenance(str(device), command),
        "model": model.config.to_dict(),
        "parameters": model.num_parameters(),
        "lam": [
            block.attention.lam().item()
            for block in model.blocks
            if isinstance(block.attention, MultiheadDiffAttention)
        ],
        "seconds": {},
    }

    @contextmanager
    def timed(part: str) -> Iterator[None]:
        start = time.perf_counter()
        with in_mode(model, training=False):
            yield
        record["seconds"][part] = time.perf_counter() - start

    with timed("causality"):
        record["causality"] = {
            backend: assert_causal(model, backend=backend)
            for backend in ("auto", "eager")
        }
    if "loss" in parts and texts:
        with timed("loss"):
            record["loss"] = document_losses(
                model,
                texts,
                length=T,
                windows=windows,
                batch_size=batch_size,
                counts=counts,
            )
    if "recall" in parts and tasks:
        with timed("recall"):
            cells = [
                recall(
                    model, task, rows=rows, batch_size=batch_size, first=first
                )
                for task in tasks
            ]
            record["recall"] = {"cells": cells, "effective": _effective(cells)}
    if "attention" in parts:
        with timed("attention"):
            record["attention"] = few.attention()
    if "activations" in parts:
        with timed("activations"):
            record["activations"] = few.activations()
    if "rounding" in parts:
        with timed("rounding"):
            record["rounding"] = [few.rounded(n) for n in (None, *bits)]
    return _short(record)


def _effective(cells: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the effective length of each task that has several lengths."""
    alike: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for cell in cells:
        others = {k: v for k, v in cell["task"].items() if k != "length"}
        alike.setdefault(tuple(others.items()), []).append(cell)
    return [
        {
            "task": dict(key),
            "longest": max(cell["task"]["length"] for cell in group),
            "effective_length": effective_length(group),
        }
        for key, group in alike.items()
        if len(group) > 1
    ]


class _Few:
    """Measures on a quarter of the text and of the main task's rows."""

    def __init__(
        self,
        model: DecoderLM,
        texts: list[TokenDocument],
        tasks: Sequence[Task],
        first: int | None,
        length: int,
        windows: int | None,
        rows: int,
        batch_size: int,
    ) -> None:
        self.model, self.texts, self.length = model, texts, length
        self.task, self.first = tasks[0] if tasks else None, first
        self.windows = windows and max(1, windows // FEWER)
        self.rows, self.batch_size = max(1, rows // FEWER), batch_size

    def tokens(self) -> Tensor:
        """Return windows of text, or rows of the task if there is no text."""
        if not self.texts:
            return self.asked().tokens
        inputs, _, _ = text_windows(self.texts, self.length, self.windows)
        device = next(self.model.parameters()).device
        return torch.from_numpy(inputs).to(device)

    def asked(self) -> Questions:
        """Return rows of the main task."""
        assert self.task is not None  # given if there is no text
        return draw_questions(
            self.task, self.model, self.rows, first=self.first
        )

    def attention(self) -> dict[str, Any]:
        """Measure the maps' shape on text, and their place at questions."""
        measured: dict[str, Any] = {}
        if self.texts:
            measured["text"] = map_shape(self.model, self.tokens())
        if self.task:
            *asked, _ = self.asked()
            measured["answer"] = answer_attention(self.model, *asked)
            measured["place"] = place_attention(self.model, *asked)
        found: dict[str, Any] = {
            where: {key: summary(x) for key, x in heads._asdict().items()}
            for where, heads in measured.items()
        }
        return found | ({"task": self.task.describe()} if self.task else {})

    def activations(self) -> dict[str, Any]:
        """Measure the largest logits and hidden states."""
        return largest_activations(self.model, self.tokens())

    def rounded(self, bits: int | None) -> dict[str, Any]:
        """Measure loss and accuracy with rounded logits, or exact (None)."""
        if bits is not None:
            with rounded_logits(bits):
                return self.rounded(None) | {"bits": bits}
        found: dict[str, Any] = {"bits": None}
        sizes: dict[str, Any] = {
            "batch_size": self.batch_size,
            "backend": "eager",
        }
        if self.texts:
            everything = document_losses(
                self.model,
                self.texts,
                length=self.length,
                windows=self.windows,
                **sizes,
            )["domains"][ALL]
            found["text"] = {k: everything[k] for k in ("nats", "accuracy")}
        if self.task:
            cell = recall(
                self.model,
                self.task,
                rows=self.rows,
                first=self.first,
                **sizes,
            )
            keys = ("nats", "accuracy", "low", "high", "chance")
            found["recall"] = {k: cell[k] for k in keys}
        return found


def _short(value: Any) -> Any:
    """Round every number to six digits, to keep the JSON short."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {key: _short(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_short(part) for part in value]
    return value
