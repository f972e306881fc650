"""Five ways to compute differential attention, compared in chapter 06.

All compute ``o = A1 v - lam A2 v`` (Ye et al. 2025, eq. 1), causal, without
the headwise norm, with as many queries as keys and a key head for each query
head:

    q, k (B, H, 2, T, D), v (B, H, T, Dv), lam a number -> o (B, H, T, Dv)

They also take a single query, the last one, which sees every key:
q (B, H, 2, 1, D) with k and v from a cache, so that T in their shapes is the
length of the cache. ``join`` combines the outputs of the two branches; the
benchmark passes a compiled one that includes the norm.

These functions are for comparison and do not check their inputs. Use
`minidiff.diff_attention` otherwise.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention as sdpa

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
Join = Callable[..., Tensor]


def causal(q: Tensor, k: Tensor, v: Tensor, **options: Any) -> Tensor:
    """Call PyTorch's causal attention, for all queries or the last one.

    q (B, H, T or 1, D), k (B, H, T, D), v (B, H, T, Dv) -> (B, H, T or 1, Dv)
    """
    # is_causal aligns the first query with the first key, so a single query
    # would see that key only.
    return sdpa(q, k, v, is_causal=q.shape[-2] > 1, **options)


def subtract(o1: Tensor, o2: Tensor, lam: float | Tensor) -> Tensor:
    """Return ``o1 - lam o2``."""
    return o1 - lam * o2


def naive(q: Tensor, k: Tensor, v: Tensor, lam: float | Tensor) -> Tensor:
    """Subtract the two full maps, then multiply with the values once."""
    T, D = q.shape[-2:]
    hidden = torch.ones(T, T, dtype=torch.bool, device=q.device).triu(1)
    logits = q @ k.mT / D**0.5  # (B, H, 2, T, T)
    A1, A2 = logits.masked_fill(hidden, -torch.inf).softmax(-1).unbind(2)
    return (A1 - lam * A2) @ v


def two_calls(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    lam: float,
    join: Join = subtract,
    attend: Attend = causal,
) -> Tensor:
    """Make a fused call for each branch, with values wider than the keys."""
    o1 = attend(q[:, :, 0], k[:, :, 0], v)
    o2 = attend(q[:, :, 1], k[:, :, 1], v)
    return join(o1, o2, lam)


def four_calls(
    q: Tensor, k: Tensor, v: Tensor, lam: float, join: Join = subtract
) -> Tensor:
    """Make a fused call for each branch and each half of the values."""
    halves = v.chunk(2, -1)  # each (B, H, T, Dv / 2)
    o1, o2 = (
        torch.cat(
            [causal(q[:, :, j], k[:, :, j], w) for w in halves],
            -1,
        )
        for j in (0, 1)
    )
    return join(o1, o2, lam)


def stacked(
    q: Tensor, k: Tensor, v: Tensor, lam: float, join: Join = subtract
) -> Tensor:
    """Make a fused call of 2H heads for each half of the values.

    The branches are heads, first all of branch 1 and then all of branch 2,
    as in the DiffLlama of Hugging Face Transformers 5.x.
    """
    q, k = (x.transpose(1, 2).flatten(1, 2) for x in (q, k))  # (B, 2H, T, D)
    halves = [w.repeat(1, 2, 1, 1) for w in v.chunk(2, -1)]
    out = torch.cat([causal(q, k, w) for w in halves], -1)
    o1, o2 = out.chunk(2, 1)
    return join(o1, o2, lam)


def v2(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    lam: float | Tensor,
    join: Join = subtract,
) -> Tensor:
    """Compute DIFF V2 in one call, as both branches use the same keys.

    Here k is (B, Hkv, T, D) and v (B, Hkv, T, Dv), without a branch axis;
    lam is a number or (B, H, T, 1). The call has 2H query heads; heads 2h
    and 2h + 1 are the branches of pair h.
    """
    heads = q.flatten(1, 2)  # (B, 2H, T, D)
    out = causal(heads, k, v, enable_gqa=True)
    o1, o2 = out.unflatten(1, (-1, 2)).unbind(2)
    return join(o1, o2, lam)


FORMS: dict[str, Callable[..., Tensor]] = {
    "naive": naive,
    "two calls": two_calls,
    "four calls": four_calls,
    "stacked": stacked,
}
