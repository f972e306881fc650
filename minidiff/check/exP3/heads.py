"""What the kernels of problem set 3 are given: heads of one token."""

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from minidiff.check.kernels import draw
from minidiff.course.kernels import DEVICE
from minidiff.course.kernels.memory import fenced
from minidiff.course.kernels.trace import Touch

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


class OtherSplitError(Exception):
    """Values are right, but a program reads keys of another split."""

    def __init__(self, program: tuple[int, ...], key: int) -> None:
        super().__init__(
            f"values are right, but program {program} reads key {key}, which "
            "is another split's"
        )


def keys_read(touch: Touch, S: int) -> np.ndarray:
    """Return which of S keys a touch reads, as keys or as their values."""
    width = {"p_k": D, "p_v": DV}.get(touch.name)
    if touch.kind != "load" or width is None:
        return np.empty(0, int)
    return touch.element[touch.element >= 0] // width % S
