"""The scale of the logits in a form that every fused kernel supports."""

import torch
from torch import Tensor

# Kernels compute in float32, in which a smaller scale is 0.
SMALLEST = torch.finfo(torch.float32).tiny


def positive_scale(q: Tensor, scale: float) -> tuple[Tensor, float]:
    """Return q and a scale above 0 that give the same logits.

    A causal kernel hides a key by a logit of -inf. If it multiplies by the
    scale afterwards, a scale of 0 gives NaN, and a negative one shows exactly
    the hidden keys.
    """
    if scale < 0:
        q, scale = -q, -scale
    if scale < SMALLEST:
        q, scale = q * scale, 1.0
    return q, scale
