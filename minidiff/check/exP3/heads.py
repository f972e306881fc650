"""What the kernels of problem set 3 are given: heads of one token."""

import torch
from torch import Tensor
from torch.nn.functional import pad

from minidiff.check.kernels import draw
from minidiff.kernels import DEVICE
from minidiff.kernels.memory import fenced

D, DV, ROWS, BS = 16, 32, 16, 16


def heads(
    seed: int, N: int, G: int, S: int, logits: float = 2.0
) -> tuple[Tensor, Tensor, Tensor]:
    """Draw q (N, 2, G, D), k (N, 2, S, D) and v (N, S, DV)."""
    q = logits * draw(seed, N, 2, G, D)
    return q, draw(seed + 10, N, 2, S, D), draw(seed + 20, N, S, DV)


def wide(x: Tensor, gap: int) -> Tensor:
    """Fence x, and give its rows a stride that no other tensor has."""
    more = pad(x, (0, gap), value=torch.nan)
    return fenced(more.to(DEVICE))[..., : x.shape[-1]]
