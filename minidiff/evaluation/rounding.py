"""What a model still can when its attention logits are rounded."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from minidiff.ops.logits import logits_through


def round_logits(logits: Tensor, mask: Tensor | None, bits: int) -> Tensor:
    """Round logits to signed integers of so many bits, and scale back.

    Dynamic absmax: the largest visible logit of a map becomes the largest
    integer, 2**(bits - 1) - 1, so a single outlier makes the steps of its
    whole map coarse. Each map (row, head, branch) has a scale of its own.

    Parameters
    ----------
    logits : (..., T, S)
    mask : bool, broadcastable to them, or None
        True where a query sees a key.
    bits : int
        2 or more, the sign counted.

    References
    ----------
    Ye et al. 2025, Figure 8: dynamic quantisation after training, by absmax.
    How many logits share a scale is not said there.
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

    The scale of a map is that of all its queries, so a later token can move
    an earlier query's rounding: such a model is not exactly causal.
    """
    with logits_through(lambda logits, mask: round_logits(logits, mask, bits)):
        yield
