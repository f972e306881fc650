"""Reading of a prompt into a cache, with a score of each key."""

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from minidiff.nn.cache import KVCache
from minidiff.nn.hooks import hooked
from minidiff.nn.key_scores import Score
from minidiff.nn.model import DecoderLM
from minidiff.ops import AttentionMaps
from minidiff.ops.arguments import check_tensor

Scores = TypeVar("Scores")


@torch.no_grad()
def read_prompt(
    model: DecoderLM,
    tokens: Tensor,
    cache: list[KVCache],
    score: Callable[[AttentionMaps | Tensor], Scores],
) -> tuple[Tensor, list[Scores]]:
    """Append a prompt to the cache; return logits and scores of its keys.

    Nothing is evicted yet::

        logits, scores = read_prompt(model, tokens, cache, score)
        for part, of_layer in zip(cache, scores):
            part.evict(of_layer)

    A question that is part of ``tokens`` has a say in the scores. One that is
    read after the eviction has none.

    Parameters
    ----------
    model : DecoderLM
    tokens : (B, T) integers
    cache : list of KVCache
        From ``model.new_cache``.
    score : callable
        Takes the maps of a layer and returns its scores, usually (B, H, S).
        It is called in the forward pass, so that the maps of only one layer
        are in memory at a time.

    Returns
    -------
    logits : (B, V), of the token after the prompt
    scores : list of what ``score`` returned, one for each layer
    """

    def scored(
        module: nn.Module,
        inputs: Any,
        output: tuple[Tensor, AttentionMaps | Tensor],
    ) -> tuple[Tensor, Scores]:
        out, maps = output
        return out, score(maps)

    check_tensor("tokens", tokens, "(B, T) of integers", 2)
    parts = [block.get_submodule("attention") for block in model.blocks]
    last = torch.full_like(tokens[:, :1], tokens.shape[1] - 1).long()
    with hooked(parts, scored):
        logits, scores = model(tokens, cache, True, positions=last)
    return logits[:, 0], scores


@torch.no_grad()
def evict_prompt(
    model: DecoderLM, tokens: Tensor, cache: list[KVCache], score: Score
) -> Tensor:
    """Read a prompt, evict its keys of lowest score; return the logits.

    The arguments are those of :func:`read_prompt`. The logits (B, V) are of
    the token after the prompt, and were computed before the eviction.
    """
    logits, scores = read_prompt(model, tokens, cache, score)
    for part, of_layer in zip(cache, scores, strict=True):
        part.evict(of_layer)
    return logits
