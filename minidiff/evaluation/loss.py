"""Loss on documents: by domain, position, token frequency and repetition."""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from minidiff.data.protocol import IGNORE
from minidiff.data.token_documents import TokenDocument
from minidiff.evaluation.frequency import BINS, frequency_deciles
from minidiff.evaluation.intervals import DocumentLoss, loss_interval
from minidiff.files.checks import positive_int
from minidiff.nn.model import DecoderLM

ALL = "all"  # name for the documents of all domains together


@torch.no_grad()
def document_losses(
    model: DecoderLM,
    documents: Iterable[TokenDocument],
    *,
    length: int | None = None,
    windows: int | None = None,
    batch_size: int = 8,
    counts: np.ndarray | None = None,
    backend: str = "auto",
) -> dict[str, Any]:
    """Measure the loss on documents, in windows as in training.

    The documents of a domain are concatenated and cut into windows of
    ``length`` tokens, so the mean context is half a window. All tokens are
    predicted except the first one of each domain.

    Parameters
    ----------
    model : DecoderLM
    documents : TokenDocuments
        From :func:`minidiff.data.read_documents`, for instance.
    length : int, optional
        T; the model's window if not given.
    windows : int, optional
        Number of windows of each domain, drawn at random but the same for
        every model; all if not given.
    counts : (V,) integers, optional
        Occurrences of each token in the training text, for the loss by
        frequency.
    backend : str
        Backend of the attention.

    Returns
    -------
    A dict that JSON can hold.

    "length" : T
    "documents" : a DocumentLoss for each document
    "domains" : by name, and "all" together:
        "tokens", "bytes", "nats" (per token), "bits_per_byte", "accuracy" (of
        the most likely next token); "low" and "high", the bootstrap interval
        of the nats over documents, None for a single document;
        "by_position" : rows "first", "last", "tokens", "nats"; position 0
        predicts from the first token of a window alone;
        "by_frequency" : the same by decile of frequency in training, the
        rarest tokens first; None without counts;
        "repeated", "other" : targets that end a pair of tokens seen before
        in the window, and all others: the AR-Hit slice of Table 6 (Arora et
        al. 2023). Zoology leaves out pairs that are frequent in training;
        here all pairs count.

    Raises
    ------
    ValueError
        If there is no document, or a token id that the model lacks.
    """
    positive_int("batch_size", batch_size)
    T = model.config.max_length if length is None else length
    documents = [d for d in documents if len(d.ids)]
    inputs, targets, owners = text_windows(documents, T, windows)
    vocabulary = model.config.vocab_size
    if inputs.max() >= vocabulary or targets.max() >= vocabulary:
        raise ValueError(
            f"documents: got token id {max(inputs.max(), targets.max())}, "
            f"expected ids below the model's vocab_size {vocabulary}: were "
            "they encoded by another tokenizer?"
        )
    device = next(model.parameters()).device
    domains = list(dict.fromkeys(d.domain for d in documents))
    domain_of = torch.tensor([domains.index(d.domain) for d in documents])
    domain_of = domain_of.to(device)
    edges = position_edges(T)
    bin_of = torch.bucketize(
        torch.arange(T), torch.tensor(edges[1:]), right=True
    ).to(device)
    decile_of = None
    if counts is not None:
        decile_of = frequency_deciles(counts).to(device)
    by_document = _Sums((len(documents),), device)
    by_position = _Sums((len(domains), len(edges) - 1), device)
    by_frequency = _Sums((len(domains), BINS), device)
    by_repeat = _Sums((len(domains), 2), device)
    for start in range(0, len(inputs), batch_size):
        x, y, owner = (
            torch.from_numpy(rows[start : start + batch_size]).to(device)
            for rows in (inputs, targets, owners)
        )
        logits = model(x, backend=backend)
        loss = cross_entropy(
            logits.flatten(0, 1).float(),
            y.flatten(),
            ignore_index=IGNORE,
            reduction="none",
        ).view(y.shape)
        seen = repeats(x, y)
        kept = y != IGNORE
        position = bin_of.expand_as(y)[kept]
        right = (logits.argmax(-1) == y)[kept]
        loss, y, owner, seen = (part[kept] for part in (loss, y, owner, seen))
        values = torch.stack([torch.ones_like(loss), loss, right], dim=1)
        domain = domain_of[owner]
        by_document.add(values, owner)
        by_position.add(values, domain, position)
        by_repeat.add(values, domain, seen.long())
        if decile_of is not None:
            by_frequency.add(values, domain, decile_of[y])
    losses = [
        DocumentLoss(
            d.domain,
            d.path,
            round(tokens),
            # Scale the size if not all of its tokens were predicted.
            round(d.size * tokens / len(d.ids), 1),
            nats,
            round(right),
        )
        for d, (tokens, nats, right) in zip(
            documents, by_document.sums.tolist(), strict=True
        )
    ]
    # Drop documents without a predicted token in the chosen windows.
    losses = [row for row in losses if row.tokens]
    tables = {}
    for name in (*domains, ALL):
        # "all" is the sum over the first axis, that of the domains.
        part = slice(None) if name == ALL else [domains.index(name)]
        rows = [row for row in losses if name in (row.domain, ALL)]
        other, repeated = by_repeat.rows(part)
        tables[name] = {
            **_totals(rows),
            "repeated": repeated,
            "other": other,
            "by_position": [
                {"first": first, "last": last - 1, **row}
                for first, last, row in zip(
                    edges[:-1], edges[1:], by_position.rows(part), strict=True
                )
            ],
            "by_frequency": (
                None if decile_of is None else by_frequency.rows(part)
            ),
        }
    return {"length": T, "domains": tables, "documents": losses}


def position_edges(length: int) -> list[int]:
    """Return 0, 32, 64, 128, ... and ``length``: edges of bins of positions.

    Bins double in size, because the loss falls roughly linearly with the
    logarithm of the position.
    """
    edges, edge = [0], 32
    while edge < length:
        edges.append(edge)
        edge *= 2
    return [*edges, length]


def repeats(inputs: Tensor, targets: Tensor) -> Tensor:
    """Tell which targets end a pair that occurred before, bool (B, T).

    The pair at t is (inputs[t], targets[t]); it must occur earlier in the
    same row.
    """
    pairs = inputs * (targets.max() + 1) + targets
    ordered, order = pairs.sort(dim=-1, stable=True)
    again = torch.zeros_like(ordered, dtype=torch.bool)
    again[:, 1:] = ordered[:, 1:] == ordered[:, :-1]
    return torch.zeros_like(again).scatter(-1, order, again)


class _Sums:
    """Sums of (tokens, nats, right) in float64, over cells of a table."""

    def __init__(self, shape: tuple[int, ...], device: torch.device) -> None:
        self.sums = torch.zeros(*shape, 3, dtype=torch.float64, device=device)

    def add(self, values: Tensor, *index: Tensor) -> None:
        """Add values (N, 3) to the cells at index, (N,) for each axis."""
        self.sums.index_put_(index, values.double(), accumulate=True)

    def rows(self, part: slice | list[int]) -> list[dict[str, Any]]:
        """Return tokens and mean nats of each cell, for some domains."""
        return [
            {
                "tokens": round(tokens),
                "nats": nats / tokens if tokens else None,
            }
            for tokens, nats, _ in self.sums[part].sum(0).tolist()
        ]


def _totals(rows: list[DocumentLoss]) -> dict[str, Any]:
    tokens, size = sum(r.tokens for r in rows), sum(r.size for r in rows)
    nats = sum(r.nats for r in rows)
    mean, low, high = loss_interval(rows)
    return {
        "tokens": tokens,
        "bytes": round(size),
        "nats": mean,
        "low": None if math.isnan(low) else low,
        "high": None if math.isnan(high) else high,
        "bits_per_byte": nats / math.log(2) / size,
        "accuracy": sum(r.right for r in rows) / tokens,
    }


def text_windows(
    documents: Iterable[TokenDocument],
    length: int,
    most: int | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Concatenate the documents of each domain and cut them into windows.

    Returns inputs, targets and the number of the document that each target
    belongs to, (W, T) int64 each. If a domain has more than ``most`` windows,
    ``most`` of them are drawn at random, always the same ones. The last
    window of a domain is padded with id 0 and targets of -100.
    """
    documents = list(documents)
    if not documents:
        raise ValueError("documents: got none, expected one or more")
    positive_int("length", length)
    if most is not None:
        positive_int("windows", most)
    parts: dict[str, list[tuple[int, np.ndarray]]] = {}
    for number, document in enumerate(documents):
        parts.setdefault(document.domain, []).append((number, document.ids))
    found: list[list[np.ndarray]] = [[], [], []]
    for name, of_domain in parts.items():
        ids = np.concatenate([part for _, part in of_domain]).astype(np.int64)
        if len(ids) < 2:
            raise ValueError(
                f"documents: got {len(ids)} tokens of {name}, expected 2 or "
                "more, as the first is not predicted"
            )
        owner = np.concatenate(
            [np.full(len(part), number) for number, part in of_domain]
        )
        empty = -(len(ids) - 1) % length
        total = (len(ids) - 1 + empty) // length
        chosen = np.arange(total)
        if most is not None and most < total:
            random = np.random.default_rng(0)
            chosen = np.sort(random.choice(total, most, replace=False))
        for rows, part, blank in zip(
            found,
            (ids[:-1], ids[1:], owner[1:]),
            (0, IGNORE, 0),
            strict=True,
        ):
            filled = np.pad(part, (0, empty), constant_values=blank)
            rows.append(filled.reshape(-1, length)[chosen])
    inputs, targets, owners = (np.concatenate(rows) for rows in found)
    return inputs, targets, owners
