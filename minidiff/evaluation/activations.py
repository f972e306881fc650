"""Outliers: the largest attention logits and hidden states of a model."""

from typing import Any

import torch
from torch import Tensor, nn

from minidiff.nn.hooks import hooked
from minidiff.nn.model import DecoderLM
from minidiff.ops.logits import logits_through

TOP = (1, 2, 3, 10, 100)


@torch.no_grad()
def largest_activations(
    model: DecoderLM, tokens: Tensor, *, batch_size: int = 4
) -> dict[str, Any]:
    """Return the largest absolute logits and hidden states, by layer.

    Logits are ``q k' / sqrt(D)`` for the keys that a query sees, in both maps
    of a differential head. Hidden states are the outputs of blocks, after
    the residual addition. Both follow the authors' explanation of Table 5
    (unilm issue 1666).

    Parameters
    ----------
    model : DecoderLM
    tokens : (B, T) integers

    Returns
    -------
    A dict that JSON can hold, with "tokens" (their number), "logits" and
    "hidden". The last two have "layers", one row for each layer, and "all",
    a row for all layers together. In a row, "top" has the k-th largest value
    for k = 1, 2, 3, 10 and 100 (the smallest value if there are fewer than
    k), and "median" is the mean over batches (and layers) of the medians.
    """
    found = {
        name: [_Largest() for _ in model.blocks]
        for name in ("logits", "hidden")
    }
    hidden = dict(zip(model.blocks, found["hidden"], strict=True))

    def block_done(
        block: nn.Module, inputs: Any, output: tuple[Tensor, Any]
    ) -> None:
        hidden[block].add(output[0].abs().float().flatten())

    with hooked(hidden, block_done):
        for part in tokens.split(batch_size):
            layers = iter(found["logits"])

            def seen(
                logits: Tensor, mask: Tensor | None, layers: Any = layers
            ) -> Tensor:
                assert mask is not None  # as models are causal
                kept = logits[mask.expand_as(logits)]
                next(layers).add(kept.abs().float())
                return logits

            with logits_through(seen):
                model(part, backend="eager")
    return {
        "tokens": tokens.numel(),
        **{
            name: {
                "layers": [layer.row() for layer in layers],
                "all": _joined(layers).row(),
            }
            for name, layers in found.items()
        },
    }


class _Largest:
    """The largest numbers so far, and the median of each batch of them."""

    def __init__(self) -> None:
        self.top = torch.empty(0)
        self.medians: list[Tensor] = []

    def add(self, values: Tensor) -> None:
        """Add absolute values, (N,)."""
        both = torch.cat([self.top.to(values), values])
        self.top = both.topk(min(TOP[-1], len(both))).values
        self.medians.append(values.median())

    def row(self) -> dict[str, Any]:
        """Return the k-th largest, and the median."""
        top = self.top.tolist()
        return {
            "top": {str(k): top[min(k, len(top)) - 1] for k in TOP},
            "median": torch.stack(self.medians).mean().item(),
        }


def _joined(layers: list[_Largest]) -> _Largest:
    joined = _Largest()
    top = torch.cat([layer.top for layer in layers])
    joined.top = top.topk(min(TOP[-1], len(top))).values
    joined.medians = [m for layer in layers for m in layer.medians]
    return joined
