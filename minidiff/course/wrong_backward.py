"""Gradients of the queries by five backward passes, four of them wrong.

Chapter 12 compares them. Whole maps in float64; only what the kernels store
in float16 is rounded: o, o2 and do.
"""

import numpy as np
import torch
from torch import Tensor

from minidiff import reference

LAM, SCALE = 0.5, 0.2
# The do in delta_1, the do in delta_2, and the lambda in dS2.
WAYS = {
    "as built": ("rounded", "rounded", LAM),
    "lambda delta_2 for delta_1": ("none", "rounded", LAM),
    "deltas before rounding": ("exact", "exact", LAM),
    "no lambda in dS2": ("rounded", "rounded", 1.0),
    "no deltas": ("none", "none", LAM),
}


def half(x: Tensor) -> Tensor:
    """Round to float16, and return float64."""
    return x.half().double()


def dq_errors(shift: float, T: int = 64, D: int = 16) -> dict[str, float]:
    """Return each way's relative error of dq, with ``shift`` on all values."""
    g = torch.Generator().manual_seed(0)
    shapes = (1, 1, 2, T, D), (1, 1, 2, T, D), (1, 1, T, 2 * D)
    q, k, v = (torch.randn(s, generator=g) for s in shapes)
    dy = torch.randn(v.shape, generator=g)
    q, k, v, dy = (half(x) for x in (q, k, v + shift, dy))
    right = reference.diff_attention_backward(
        dy.numpy(), q.numpy(), k.numpy(), v.numpy(), LAM, norm_scale=SCALE
    ).q
    hidden = torch.ones(T, T, dtype=torch.bool).triu(1)
    scores = (q @ k.mT / D**0.5).masked_fill(hidden, -torch.inf)
    A1, A2 = scores.softmax(-1).unbind(2)
    o, o2 = half((A1 - LAM * A2) @ v), half(A2 @ v)
    do, _ = reference.headwise_norm_backward(o.numpy(), dy.numpy(), 1.0, SCALE)
    exact = torch.from_numpy(do)
    each = {"exact": exact, "rounded": half(exact), "none": 0 * exact}
    dA = each["rounded"] @ v.mT
    found = {}
    for name, (first, second, lam) in WAYS.items():
        delta2 = (each[second] * o2).sum(-1, keepdim=True)
        delta1 = (each[first] * o).sum(-1, keepdim=True) + LAM * delta2
        slopes = [A1 * (dA - delta1), lam * A2 * (delta2 - dA)]
        dq = (torch.stack(slopes, 2) @ k / D**0.5).numpy()
        found[name] = float(np.linalg.norm(dq - right) / np.linalg.norm(right))
    return found
