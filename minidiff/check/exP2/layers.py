"""Layers with weights that no mistake can hide behind."""

import torch
from torch import Tensor

from minidiff.nn.attention import MultiheadDiffAttention


def layer(
    seed: int, E: int, H: int, Hkv: int, depth: int
) -> MultiheadDiffAttention:
    """Make a float64 layer with a random norm weight and a lambda of its own.

    Torch's own random numbers are left as they were.
    """
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        made = MultiheadDiffAttention(E, H, Hkv, depth=depth).double()
        assert made.norm_weight is not None  # on by default
        made.norm_weight.uniform_(0.5, 1.5)
        for vector in (made.lambda_q1, made.lambda_k1):
            vector.uniform_(0.2, 0.4)
    return made.requires_grad_(False)


def normal(seed: int, *shape: int) -> Tensor:
    """Return normal random numbers in float64."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)
