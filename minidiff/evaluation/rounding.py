"""Rounding of attention logits, to measure what it costs a model."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from minidiff.ops.logits import logits_through


def round_logits(logits: Tensor, mask: Tensor | None, bits: int) -> Tensor:
    """Round logits to signed integers of ``bits`` bits, and scale back.

    This is dynamic absmax quantisation: the largest visible absolute logit
    of a map becomes the largest integer, 2**(bits - 1) - 1, so a single
    outlier makes the steps of its whole map coarse. Each map (row, head,
    branch) has its own scale.

    Parameters
    ----------
    logits : (..., T, S)
    mask : bool, broadcastable to them, or None
        True where a query sees a key.
    bits : int
        2 or more, including the sign.

    References
    ----------
    Ye et al. 2025, Figure 8: dynamic quantisation after training, by absmax.
    The paper does not say how many logits share a scale.
    """
    if bits < 2:
        raise ValueError(f"bits: got {bits}, expected 2 or more")
    visible = logits if mask is None else logits.masked_fill(~mask, 0)
    largest = visible.abs().amax((-2, -1), keepdim=True).float()
    tiny = torch.finfo(torch.float32).tiny
    step = (largest / (2 ** (bits - 1) - 1)).clamp(min=tiny)
    return ((logits.float() / step).round() * step).to(logits.dtype)


@contextmanager
def rounded_logits(bits: int) -> Iterator[None]:
    """Round the logits of every eager attention inside the block.

    All queries of a map share one scale, so a later token can change how the
    logits of an earlier query are rounded: the model is not exactly causal.
    """
    with logits_through(lambda logits, mask: round_logits(logits, mask, bits)):
        yield
