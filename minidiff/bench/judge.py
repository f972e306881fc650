"""Whoever is timed must be right: forward, held to float64."""

from collections.abc import Sequence

import torch
from torch import Tensor

from minidiff.bench.inputs import Inputs
from minidiff.bench.peers import Peer
from minidiff.ops import diff_attention

TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 3e-2, torch.float16: 1e-2}


def relative_error(peer: Peer, given: Inputs, dtype: torch.dtype) -> float:
    """Relative L2 error against float64, of the first row's first tokens.

    A causal prefix needs nothing of what follows, so 256 tokens judge the
    function at any length. Raises ArithmeticError for a peer that is wrong.
    """
    tokens = 256
    with torch.no_grad():
        got = peer.attend(*given)[:1, :, :tokens].double()
        want = exact(peer.kind, [_prefix(x, tokens) for x in given])
    error = float((got - want).norm() / want.norm())
    if not error < TOLERANCE[dtype]:
        raise ArithmeticError(
            f"{peer.name}: relative error {error:.2g}, expected less than "
            f"{TOLERANCE[dtype]:.2g}"
        )
    return float(f"{error:.2e}")


def _prefix(x: Tensor, tokens: int) -> Tensor:
    """The first batch row and tokens of an input, in float64."""
    if x.ndim < 3:  # lambda of a layer, weight of the norm
        return x.double()
    return x[:1].narrow(-2, 0, min(tokens, x.shape[-2])).double()


def exact(kind: str, given: Sequence[Tensor]) -> Tensor:
    """What every peer of a kind computes, by the eager operator.

    ``given`` is as :func:`minidiff.bench.inputs.inputs` draws it; returns
    (B, heads, T, width).
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
