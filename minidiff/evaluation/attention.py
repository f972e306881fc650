"""How much of its attention a model puts on the answer to a question."""

from typing import NamedTuple

import torch
from torch import Tensor

from minidiff.nn.model import DecoderLM
from minidiff.ops import AttentionMaps


class AnswerAttention(NamedTuple):
    """Attention at the questions' positions, each (layers, heads).

    Means over rows and questions. Both are shares of the absolute weight a
    query gives to all keys, so that they compare maps whose rows sum to 1
    with differences, whose rows do not.

    on_answer : share on the value that is asked for; negative where a
        difference gives it negative weight
    on_rest : share on all keys but it, of either sign
    support : keys that the query attends to, as exp of the entropy of its
        absolute weights
    negative : share of negative weights
    """

    on_answer: Tensor
    on_rest: Tensor
    support: Tensor
    negative: Tensor


@torch.no_grad()
def answer_attention(
    model: DecoderLM, tokens: Tensor, questions: Tensor, answers: Tensor
) -> AnswerAttention:
    """Measure the attention from questions to their answers.

    Parameters
    ----------
    model : DecoderLM
    tokens : (B, T) integers
    questions, answers : (B, Q) int64
        Places in tokens: of the asked key, and of the value to be found.

    References
    ----------
    Ye et al. 2025, Table 3 and Figure 1. Their noise is everything but the
    answer, ``on_rest`` here.
    """
    _, maps = model(tokens, return_maps=True)
    layers = []
    for layer in maps:
        A = layer.A if isinstance(layer, AttentionMaps) else layer
        rows = A.take_along_dim(questions[:, None, :, None], dim=2)
        total = rows.abs().sum(-1)  # (B, heads, Q)
        share = rows / total[..., None]
        on_answer = share.take_along_dim(answers[:, None, :, None], dim=3)
        weights = share.abs()
        entropy = -(weights * weights.clamp(min=1e-30).log()).sum(-1)
        parts = (
            on_answer[..., 0],
            1 - on_answer[..., 0].abs(),
            entropy.exp(),
            share.clamp(max=0).abs().sum(-1),
        )
        layers.append(torch.stack([x.mean((0, 2)) for x in parts]))
    return AnswerAttention(*torch.stack(layers, dim=1))
