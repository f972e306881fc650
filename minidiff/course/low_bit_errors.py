"""Errors of a differential head that reads keys and values of 8 bits.

A head's output is (A1 - lam A2) V. An error of V is multiplied by this one
map, as V itself is, so it shrinks as much as the output does. Keys of the two
branches are rounded separately. Their errors in A1 and in A2 are unrelated
and do not cancel, while the outputs of the branches do.
"""

import torch
from torch import Tensor

from minidiff.course.rounding import draw
from minidiff.ops.low_bit import quantise, restore


def low_bit_errors(
    alike: float, precision: str, lam: float = 0.8
) -> dict[str, tuple[float, float]]:
    """Return the relative errors of A1 V and of A1 V - lam A2 V.

    Keys, values or both are stored as in a cache of ``precision`` "int8" or
    "fp8"; the rest is exact (float64). Queries, keys and values are normal,
    from :func:`minidiff.course.rounding.draw`: 8 heads, 256 tokens, D = 64.
    An error is the norm of the difference over the norm of the exact output.

    Parameters
    ----------
    alike : float, 0 to 1
        Correlation of the queries of the two branches, and of their keys.

    Returns
    -------
    A dict with entries "keys", "values" and "both", each (error of A1 V,
    error of A1 V - lam A2 V).
    """

    def low(x: Tensor) -> Tensor:
        return restore(*quantise(x, precision), x.dtype)

    q1, k1, q2, k2, v = draw(alike)
    exact1, exact2 = _branch(q1, k1, v), _branch(q2, k2, v)
    cases = {
        "keys": (low(k1), low(k2), v),
        "values": (k1, k2, low(v)),
        "both": (low(k1), low(k2), low(v)),
    }
    found = {}
    for name, (keys1, keys2, values) in cases.items():
        o1, o2 = _branch(q1, keys1, values), _branch(q2, keys2, values)
        found[name] = (
            _relative(o1, exact1),
            _relative(o1 - lam * o2, exact1 - lam * exact2),
        )
    return found


def _branch(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Return softmax(q k^T / sqrt(D)) v in float64, causal."""
    T, D = q.shape[-2:]
    hidden = torch.ones(T, T, dtype=torch.bool).triu(1)
    scores = q.double() @ k.double().mT / D**0.5
    return scores.masked_fill(hidden, -torch.inf).softmax(-1) @ v.double()


def _relative(x: Tensor, exact: Tensor) -> float:
    return float((x - exact).norm() / exact.norm())
