"""Accuracy: check each implementation against float64 before timing it."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from minidiff.bench.inputs import Inputs
from minidiff.bench.peers import Peer
from minidiff.ops import diff_attention

TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 3e-2, torch.float16: 1e-2}


def prefix(x: Tensor) -> Tensor:
    """The first batch row's first tokens of an input or output, in float64.

    A causal prefix needs nothing of what follows, so 256 tokens judge the
    function at any length.
    """
    if x.ndim < 3:  # lambda of a layer, weight of the norm
        return x.double()
    return x[:1].narrow(-2, 0, min(256, x.shape[-2])).double()


def ends(x: Tensor) -> Tensor:
    """The first and the last batch row, whole, in float64.

    A query against a cache needs all keys; and where a cache has more entries
    than a 32-bit number counts, it is the last row that would go wrong.
    """
    if x.ndim < 3:
        return x.double()
    return x[:: max(1, len(x) - 1)].double()


def relative_error(
    peer: Peer,
    given: Inputs,
    dtype: torch.dtype,
    part: Callable[[Tensor], Tensor] = prefix,
) -> float:
    """Relative L2 error against float64, of a part of inputs and output.

    Raises ArithmeticError for a peer that is wrong.
    """
    with torch.no_grad():
        got = part(peer.attend(*given))
        want = exact(peer.kind, [part(x) for x in given])
    error = float((got - want).norm() / want.norm())
    if not error < TOLERANCE[dtype]:
        raise ArithmeticError(
            f"{peer.name}: relative error {error:.2g}, expected less than "
            f"{TOLERANCE[dtype]:.2g}"
        )
    return float(f"{error:.2e}")


def exact(kind: str, given: Sequence[Tensor]) -> Tensor:
    """What every peer of a kind computes, by the eager operator.

    ``given`` is as :mod:`minidiff.bench.inputs` draws it; returns (B, heads,
    T, width).
    """
    if kind in ("plain", "base"):
        q, k, v = given
        q, k = (torch.stack([x, x], 2) for x in (q, k))
        return diff_attention(q, k, v, 0.0, backend="eager")
    if kind == "v2":
        q, k, v, s = given
        lam = s[..., 0].sigmoid()
        return diff_attention(q, k[:, :, None], v, lam, backend="eager")
    q, k, v, lam, weight = given
    return diff_attention(
        q, k, v, lam, norm_scale=0.8, norm_weight=weight, backend="eager"
    )
