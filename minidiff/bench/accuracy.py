"""Accuracy: check each implementation against float64 before timing it."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from minidiff.bench.inputs import Inputs
from minidiff.bench.peers import Peer
from minidiff.ops import diff_attention

TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 3e-2, torch.float16: 1e-2}


def prefix(x: Tensor) -> Tensor:
    """Return the first tokens of the first batch row, in float64.

    ``x`` is an input or the output. In causal attention a prefix does not
    depend on later tokens, so 256 tokens are enough to check any length.
    """
    if x.ndim < 3:  # lambda of a layer, weight of the norm
        return x.double()
    return x[:1].narrow(-2, 0, min(256, x.shape[-2])).double()


def ends(x: Tensor) -> Tensor:
    """Return the first and the last batch row, in full, in float64.

    A query against a cache needs all keys, so rows cannot be cut. The last
    row is included because it is the one that goes wrong if an index into a
    large cache overflows 32 bits.
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
    """Return a peer's relative L2 error against float64.

    ``part`` selects the part of the inputs and of the output that is
    compared. Raises ArithmeticError if the peer's result is wrong.
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
    """Compute the expected result of a kind with the eager operator.

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
