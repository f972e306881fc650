"""Five ways to write differential attention with what PyTorch has.

All take q (B, H, 2, T, D), k (B, H, 2, T, D), v (B, H, T, Dv) and a number
or 0-d tensor lam, are causal, and return A1 v - lam A2 v, (B, H, T, Dv). The
units of cost count products of T x S x D multiply-adds for Dv = 2D; a plain
model's matched pair of heads spends 4.
"""

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention as sdpa


def naive(q: Tensor, k: Tensor, v: Tensor, lam: float | Tensor) -> Tensor:
    """Both maps written out, subtracted, one product with v: 4 units."""
    T, D = q.shape[-2:]
    hidden = q.new_ones(T, T, dtype=torch.bool).triu(1)
    logits = (q * D**-0.5) @ k.mT  # (B, H, 2, T, T)
    A1, A2 = logits.masked_fill(hidden, float("-inf")).softmax(-1).unbind(2)
    return (A1 - lam * A2) @ v


def two_calls(q: Tensor, k: Tensor, v: Tensor, lam: float | Tensor) -> Tensor:
    """One call a branch, values 2D wide: 6 units."""
    o1 = sdpa(q[:, :, 0], k[:, :, 0], v, is_causal=True)
    o2 = sdpa(q[:, :, 1], k[:, :, 1], v, is_causal=True)
    return o1 - lam * o2


def four_calls(q: Tensor, k: Tensor, v: Tensor, lam: float | Tensor) -> Tensor:
    """Every call D wide, for kernels that ask for one width: 8 units."""
    left, right = v.chunk(2, -1)
    o1, o2 = (
        torch.cat(
            [
                sdpa(q[:, :, i], k[:, :, i], half, is_causal=True)
                for half in (left, right)
            ],
            -1,
        )
        for i in (0, 1)
    )
    return o1 - lam * o2


def stacked(q: Tensor, k: Tensor, v: Tensor, lam: float | Tensor) -> Tensor:
    """Branches as 2H ordinary heads, one call a half of v: 8 units."""
    q, k = (x.transpose(1, 2).flatten(1, 2) for x in (q, k))  # (B, 2H, T, D)
    o = torch.cat(
        [
            sdpa(q, k, half.repeat(1, 2, 1, 1), is_causal=True)
            for half in v.chunk(2, -1)
        ],
        -1,
    )
    o1, o2 = o.chunk(2, 1)
    return o1 - lam * o2


def v2(q: Tensor, k: Tensor, v: Tensor, lam: Tensor) -> Tensor:
    """DIFF V2: the branches share keys and values, so one call does.

    q (B, H, 2, T, D), k (B, H, 1, T, D), v (B, H, T, Dv), lam (B, H, T): 2H
    query heads, each pair in one group of grouped-query attention.
    """
    B, H, _, T, D = q.shape
    o = sdpa(
        q.reshape(B, 2 * H, T, D),
        k[:, :, 0],
        v,
        is_causal=True,
        enable_gqa=True,
    )
    o1, o2 = o.unflatten(1, (H, 2)).unbind(2)
    return o1 - lam[..., None] * o2
