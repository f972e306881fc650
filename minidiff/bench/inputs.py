"""What is timed: sizes of one layer's attention, and tensors of each kind."""

from typing import NamedTuple

import torch
from torch import Tensor

Inputs = tuple[Tensor, ...]


class Shape(NamedTuple):
    """One setting: B rows of T tokens, H differential heads, branch width D.

    The plain models of equal size have 2H heads of width D, or H of 2D.
    """

    B: int
    H: int
    T: int
    D: int


def inputs(
    kind: str, shape: Shape, device: torch.device, dtype: torch.dtype
) -> Inputs:
    """Draw the inputs of one kind, strided as projections leave them.

    plain, base: q, k, v. diff: q, k, v, lam and the norm's weight, with the
    shapes of :func:`minidiff.diff_attention`. v2: q, k, v and lam's logits as
    in :func:`minidiff.bench.forms.v2`, 2D wide. All want gradients.
    """
    B, H, T, D = shape
    g = torch.Generator(device).manual_seed(0)

    def draw(*sizes: int) -> Tensor:
        x = torch.randn(*sizes, generator=g, device=device, dtype=dtype)
        return x.requires_grad_()

    def heads(n: int, width: int) -> Tensor:
        return draw(B, T, n, width).transpose(1, 2)

    def pairs(width: int) -> Tensor:
        return draw(B, T, H, 2, width).permute(0, 2, 3, 1, 4)

    if kind == "plain":
        return tuple(heads(2 * H, D) for _ in range(3))
    if kind == "base":
        return tuple(heads(H, 2 * D) for _ in range(3))
    if kind == "diff":
        lam = torch.tensor(0.8, device=device, requires_grad=True)
        return pairs(D), pairs(D), heads(H, 2 * D), lam, draw(2 * D)
    q = pairs(2 * D)
    return q, heads(H, 2 * D), heads(H, 2 * D), heads(H, 1)
