"""Measures of attention maps: on which keys, and on how many, they lie."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from minidiff.nn.hooks import hooked
from minidiff.nn.model import DecoderLM
from minidiff.ops import AttentionMaps


class AnswerAttention(NamedTuple):
    """Attention at the questions' positions, each (layers, heads).

    All are means over rows and questions. Shares are relative to the sum of
    the absolute weights of a query, so that plain maps, whose rows sum to 1,
    can be compared with differences of maps, whose rows do not.

    on_answer : share on the value that is asked for; negative if a
        difference gives it negative weight
    on_rest : share of absolute weight on all other keys
    support : number of keys that the query attends to, as exp of the entropy
        of its absolute weights
    negative : share of negative weights
    """

    on_answer: Tensor
    on_rest: Tensor
    support: Tensor
    negative: Tensor


class PlaceAttention(NamedTuple):
    """Shares of absolute attention at questions, by place of the keys.

    Each is (layers, heads). The five sum to 1 and are the columns of Figure 1
    of the paper: the first token, keys before the answer, the answer, keys
    after it, and the question itself.
    """

    first: Tensor
    before: Tensor
    answer: Tensor
    after: Tensor
    itself: Tensor


class MapShape(NamedTuple):
    """Shape of the maps on any text, each (layers, heads); means over queries.

    support : number of keys that a query attends to, as exp of the entropy
        of its absolute weights, from 1 to the number of keys that it sees
    negative : share of the absolute weight that is negative
    first : share of the absolute weight on the first token of the row
    """

    support: Tensor
    negative: Tensor
    first: Tensor


@torch.no_grad()
def answer_attention(
    model: DecoderLM,
    tokens: Tensor,
    questions: Tensor,
    answers: Tensor,
    *,
    batch_size: int = 8,
) -> AnswerAttention:
    """Measure the attention from questions to their answers.

    Parameters
    ----------
    model : DecoderLM
    tokens : (B, T) integers
    questions, answers : (B, Q) int64
        Positions in tokens of the asked keys, and of the values to find.

    References
    ----------
    Ye et al. 2025, Table 3. Their noise is everything except the answer,
    ``on_rest`` here. The paper does not say how it treats negative weights.
    """

    def measure(A: Tensor, questions: Tensor, answers: Tensor) -> Tensor:
        share = _shares(A, questions)  # (B, heads, Q, S)
        on_answer = share.take_along_dim(answers[:, None, :, None], dim=3)
        on_answer = on_answer[..., 0]
        parts = on_answer, 1 - on_answer.abs(), _support(share), _below(share)
        return torch.stack(parts)

    found = _mean_over_maps(
        model, measure, batch_size, tokens, questions, answers
    )
    return AnswerAttention(*found)


@torch.no_grad()
def place_attention(
    model: DecoderLM,
    tokens: Tensor,
    questions: Tensor,
    answers: Tensor,
    *,
    batch_size: int = 8,
) -> PlaceAttention:
    """Measure where the attention of questions lies around their answers.

    Arguments are as in :func:`answer_attention`.

    References
    ----------
    Ye et al. 2025, Figure 1, which averages over heads and layers. This
    function returns each head, and uses absolute weights.
    """

    def measure(A: Tensor, questions: Tensor, answers: Tensor) -> Tensor:
        share = _shares(A, questions).abs()
        places = torch.arange(A.shape[-1], device=A.device)
        answer, question = answers[..., None], questions[..., None]
        itself, first = places == question, places == 0  # (B, Q, S), (S,)
        inside = ~itself & ~first
        parts = (
            first.expand_as(itself),
            inside & (places < answer),
            places == answer,
            inside & (places > answer),
            itself,
        )
        return torch.stack([(share * p[:, None]).sum(-1) for p in parts])

    found = _mean_over_maps(
        model, measure, batch_size, tokens, questions, answers
    )
    return PlaceAttention(*found)


@torch.no_grad()
def map_shape(
    model: DecoderLM, tokens: Tensor, *, batch_size: int = 8
) -> MapShape:
    """Measure support, negative mass and the first token's share of maps.

    tokens are (B, T) integers. All queries count, including early ones,
    which see few keys. So compare models on rows of equal length only.
    """

    def measure(A: Tensor) -> Tensor:
        share = A / A.abs().sum(-1, keepdim=True)
        first = share[..., 0].abs()
        return torch.stack((_support(share), _below(share), first))

    return MapShape(*_mean_over_maps(model, measure, batch_size, tokens))


def summary(heads: Tensor) -> dict[str, Any]:
    """Return a measure (layers, heads) as JSON: all heads, mean and highest.

    "layer" and "head", counted from 0, are those of the highest value.
    """
    layer, head = divmod(int(heads.argmax()), heads.shape[1])
    return {
        "mean": heads.mean().item(),
        "highest": heads.max().item(),
        "layer": layer,
        "head": head,
        "heads": [[round(x, 4) for x in row] for row in heads.tolist()],
    }


def _mean_over_maps(
    model: DecoderLM,
    measure: Callable[..., Tensor],
    batch_size: int,
    *rows: Tensor,
) -> Tensor:
    """Return the mean of a measure of every layer's map, (K, layers, heads).

    ``measure`` takes a map (B, heads, T, S) and the further rows, and returns
    K numbers for each row, head and query, (K, B, heads, Q). It is applied
    in the forward pass, so that only the maps of one layer and batch are in
    memory at a time.
    """
    total = torch.zeros(())
    attentions = [block.get_submodule("attention") for block in model.blocks]
    for part in zip(*(x.split(batch_size) for x in rows), strict=True):
        tokens, *others = part

        def reduced(
            module: nn.Module,
            inputs: Any,
            output: tuple[Tensor, Tensor | AttentionMaps],
            others: list[Tensor] = others,
        ) -> tuple[Tensor, Tensor]:
            out, maps = output
            A = maps.A if isinstance(maps, AttentionMaps) else maps
            return out, measure(A, *others).double().mean(3).sum(1)

        with hooked(attentions, reduced):
            _, found = model(tokens, return_maps=True)
        total = total.to(found[0]) + torch.stack(found, dim=1)
    return total / len(rows[0])


def _shares(A: Tensor, questions: Tensor) -> Tensor:
    """Return the questions' rows of A, divided by their absolute sums."""
    rows = A.take_along_dim(questions[:, None, :, None], dim=2)
    return rows / rows.abs().sum(-1, keepdim=True)


def _support(share: Tensor) -> Tensor:
    """Return exp of the entropy of the absolute weights."""
    weights = share.abs()
    logs = weights.clamp(min=1e-30).log()
    return (-(weights * logs).sum(-1)).exp()


def _below(share: Tensor) -> Tensor:
    """Return the share of negative weight."""
    return share.clamp(max=0).abs().sum(-1)
