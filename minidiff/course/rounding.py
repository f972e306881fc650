"""Errors of a differential head in bfloat16, by when it is rounded.

Chapter 11 plots them. All of it runs in PyTorch, whose casts are right on a
CPU. Each form does what its kernels do: scores, exponentials and accumulators
in float32, weights rounded for the product with the values, outputs rounded
when they are written.
"""

import torch
from torch import Tensor


def rounded(x: Tensor) -> Tensor:
    """Round to bfloat16, and return float32."""
    return x.bfloat16().float()


def draw(alike: float, H: int = 8, T: int = 256, D: int = 64) -> list[Tensor]:
    """Draw q1, k1, q2, k2 (H, T, D) and v (H, T, 2D), rounded.

    ``alike`` is the correlation of q1 with q2 and of k1 with k2.
    """
    g = torch.Generator().manual_seed(3)
    first, second = torch.randn(2, 2, H, T, D, generator=g)
    second = alike * first + (1 - alike**2) ** 0.5 * second
    v = torch.randn(H, T, 2 * D, generator=g)
    return [rounded(x) for x in (*first, *second, v)]


def branch(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the output as a kernel holds it, the map, and the exact output.

    q, k (H, T, D), v (H, T, 2D); the first two results are float32, the last
    is float64. Causal.
    """
    T, D = q.shape[-2:]
    hidden = torch.ones(T, T, dtype=torch.bool).triu(1)
    scores = (q @ k.mT / D**0.5).masked_fill(hidden, -torch.inf)
    p = torch.exp(scores - scores.amax(-1, keepdim=True))
    total = p.sum(-1, keepdim=True)
    exact = scores.double().softmax(-1) @ v.double()
    return rounded(p) @ v / total, p / total, exact


def errors(
    alike: float, lam: float = 0.8, size: float = 1.0
) -> dict[str, float]:
    """Return the relative error of o = o1 - lam o2 for each form.

    ``size`` multiplies the queries; with 0 both maps are equal. The entry
    "cancelled" is no error: it is the size of o1 over the size of o.
    """
    q1, k1, q2, k2, v = draw(alike)
    o1, A1, exact1 = branch(size * q1, k1, v)
    o2, A2, exact2 = branch(size * q2, k2, v)
    exact = exact1 - lam * exact2
    forms = {
        "two calls": o1.bfloat16() - lam * o2.bfloat16(),
        "in turn": rounded(o1 - lam * rounded(o2)),  # o2 waits in memory
        "both at once": rounded(o1 - lam * o2),
        "one product": rounded(rounded(A1 - lam * A2) @ v),
    }
    norm = float(exact.norm())
    off = {n: float((x - exact).norm()) / norm for n, x in forms.items()}
    return off | {"cancelled": float(exact1.norm()) / norm}
