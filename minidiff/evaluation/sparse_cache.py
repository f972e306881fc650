"""Recall and text loss of a model whose cache keeps a part of its keys."""

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from minidiff.data.needles import NeedleTask
from minidiff.data.protocol import IGNORE
from minidiff.data.token_documents import TokenDocument
from minidiff.evaluation.intervals import wilson
from minidiff.evaluation.loss import text_windows
from minidiff.evaluation.recall import batches, draw_questions
from minidiff.files.checks import integer, number
from minidiff.nn.cache import KVCache
from minidiff.nn.kept_keys import highest
from minidiff.nn.key_scores import Score
from minidiff.nn.model import DecoderLM
from minidiff.nn.prompt import read_prompt
from minidiff.ops import AttentionMaps
from minidiff.ops.wide import wide

FRACTIONS = (1.0, 1 / 2, 1 / 4, 1 / 8)
MODES = ("query-aware", "question-blind")


class _Sums(NamedTuple):
    """Number of targets, of right predictions, and their loss in nats."""

    targets: int
    right: int
    nats: float


@torch.no_grad()
def sparse_recall(
    model: DecoderLM,
    task: NeedleTask,
    scores: Mapping[str, Score],
    *,
    fractions: Sequence[float] = FRACTIONS,
    first: int | None = None,
    rows: int = 128,
    batch_size: int = 8,
    keep_denominators: bool = False,
) -> list[dict[str, Any]]:
    """Measure the accuracy at looking up keys of an evicted haystack.

    The haystack, all tokens before the first question, is read and evicted.
    Then the questions and the earlier answers are read with what was kept.
    "query-aware" scores have seen the attention of the questions too: the
    whole row is read for the scores, then the cache goes back to the end of
    the haystack. "question-blind" scores have seen the haystack only.

    Parameters
    ----------
    model : DecoderLM
    task : NeedleTask
        Its seed has no effect, as in :func:`recall`.
    scores : from names to functions
        Each takes the maps of a layer and returns (B, H, S), as those of
        :func:`scores_of` do.
    fractions : numbers above 0 and at most 1
        Shares of the haystack's keys that each head keeps, rounded down, but
        at least one key.
    first : int, optional
        The task's first token id, as in :func:`draw_questions`.
    keep_denominators : bool
        Evict values only. All keys stay in the denominators of the softmaxes,
        so the kept keys have the weights of the full cache. This is a control
        for what their rescaling costs; it saves no memory.

    Returns
    -------
    A list of dicts that JSON can hold, one for each "mode", "score" and
    "fraction", with "kept", the keys that each head keeps of the haystack;
    "questions"; "accuracy" with its Wilson interval "low" and "high"; and
    "nats" per question. At fraction 1 they are those of the full cache.
    """
    sums: dict[tuple[str, str, float], _Sums] = {}
    for step, size in enumerate(batches(rows, batch_size)):
        asked = draw_questions(task, model, size, step, first)
        P = int(asked.questions.min())
        kept = {share: _budget(P, share) for share in fractions}
        for mode in MODES:
            end = P if mode == "question-blind" else task.length
            for key, cache in _evicted_caches(
                model,
                asked.tokens[:, :end],
                P,
                task.length,
                scores,
                kept,
                keep_denominators,
            ):
                logits = model(
                    asked.tokens[:, P:], cache, positions=asked.questions - P
                )
                _add(sums, (mode, *key), logits, asked.targets)
    found = []
    for (mode, name, share), (count, right, nats) in sums.items():
        accuracy, low, high = wilson(right, count)
        found.append(
            {
                "mode": mode,
                "score": name,
                "fraction": share,
                "kept": kept[share],
                "questions": count,
                "accuracy": accuracy,
                "low": low,
                "high": high,
                "nats": nats / count,
            }
        )
    return found


@torch.no_grad()
def sparse_text_loss(
    model: DecoderLM,
    documents: Sequence[TokenDocument],
    scores: Mapping[str, Score],
    *,
    fractions: Sequence[float] = FRACTIONS,
    length: int | None = None,
    prompt: int | None = None,
    windows: int | None = None,
    batch_size: int = 8,
    keep_denominators: bool = False,
) -> list[dict[str, Any]]:
    """Measure the loss of text that continues an evicted prompt.

    Each window of ``length`` tokens is a prompt, which is read and evicted,
    and a continuation, whose tokens are predicted with what was kept and with
    their own earlier keys. The scores have seen the prompt only.

    Parameters
    ----------
    model, scores, fractions, keep_denominators
        As in :func:`sparse_recall`; fractions are those of the prompt.
    documents : TokenDocuments
    length : int, optional
        T; the model's max_length if not given.
    prompt : int, optional
        Tokens of the prompt; T // 2 if not given.
    windows : int, optional
        Number of windows of each domain, as in :func:`document_losses`.

    Returns
    -------
    A list of dicts that JSON can hold, one for each "score" and "fraction",
    with "kept"; "tokens", the number of predicted ones; their share of right
    predictions, "accuracy"; and "nats" per token.
    """
    T = model.config.max_length if length is None else length
    P = T // 2 if prompt is None else integer("prompt", prompt, 1, T - 1)
    kept = {share: _budget(P, share) for share in fractions}
    device = next(model.parameters()).device
    inputs, targets, _ = text_windows(documents, T, windows)
    full = (targets[:, P:] != IGNORE).any(1)  # the last one may be too short
    if not full.any():
        raise ValueError(
            f"documents: got no window of more than {P} tokens, the prompt"
        )
    x, y = (torch.from_numpy(rows[full]) for rows in (inputs, targets))
    sums: dict[tuple[str, float], _Sums] = {}
    for tokens, after in zip(
        x.split(batch_size), y[:, P:].split(batch_size), strict=True
    ):
        tokens, after = tokens.to(device), after.to(device)
        for key, cache in _evicted_caches(
            model, tokens[:, :P], P, T, scores, kept, keep_denominators
        ):
            _add(sums, key, model(tokens[:, P:], cache), after)
    return [
        {
            "score": name,
            "fraction": share,
            "kept": kept[share],
            "tokens": count,
            "accuracy": right / count,
            "nats": nats / count,
        }
        for (name, share), (count, right, nats) in sums.items()
    ]


def _budget(prompt: int, fraction: float) -> int:
    if not 0 < number("fractions", fraction) <= 1:
        raise ValueError(
            f"fractions: got {fraction}, expected above 0 and at most 1"
        )
    return max(1, int(prompt * fraction))


def _evicted_caches(
    model: DecoderLM,
    tokens: Tensor,
    prompt: int,
    capacity: int,
    scores: Mapping[str, Score],
    kept: Mapping[float, int],
    keep_denominators: bool,
) -> Iterator[tuple[tuple[str, float], list[KVCache]]]:
    """Yield a cache of the first ``prompt`` tokens for each score and share.

    All of ``tokens`` have a say in the scores.
    """

    def all_scores(maps: AttentionMaps | Tensor) -> dict[str, Tensor]:
        return {n: score(maps)[..., :prompt] for n, score in scores.items()}

    full = model.new_cache(len(tokens), capacity)
    _, layers = read_prompt(model, tokens, full, all_scores)
    for part in full:
        part.length = prompt
    for name in scores:
        for share, budget in kept.items():
            cache = deepcopy(full)
            for part, of_layer in zip(cache, layers, strict=True):
                part.budget = budget
                if keep_denominators:
                    _evict_values(part, of_layer[name], budget)
                else:
                    part.evict(of_layer[name])
            yield (name, share), cache


def _evict_values(part: KVCache, scores: Tensor, budget: int) -> None:
    """Set the values of the keys that would be evicted to zero."""
    values = part._v[..., : part.held, :]
    by_head = scores.unflatten(1, (values.shape[1], -1)).mean(2)
    kept = highest(by_head, budget)[..., None].expand(
        *values.shape[:2], -1, values.shape[-1]
    )
    held = values.gather(2, kept)
    values.zero_().scatter_(2, kept, held)


def _add(
    sums: dict[Any, _Sums], key: Any, logits: Tensor, targets: Tensor
) -> None:
    counted = targets != IGNORE
    logits, targets = wide(logits[counted]), targets[counted]
    before = sums.get(key, _Sums(0, 0, 0.0))
    sums[key] = _Sums(
        before.targets + len(targets),
        before.right + int((logits.argmax(-1) == targets).sum()),
        before.nats + cross_entropy(logits, targets, reduction="sum").item(),
    )
