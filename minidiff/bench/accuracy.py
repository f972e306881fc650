"""Accuracy: check each implementation against float64, before and after."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from minidiff.bench.inputs import Inputs
from minidiff.bench.integrity import (
    check_result,
    check_unchanged,
    fingerprint,
    refill,
)
from minidiff.bench.peers import Peer
from minidiff.bench.poison import poisoned
from minidiff.ops import diff_attention

TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 3e-2, torch.float16: 1e-2}
# Seeds of the inputs that nobody has seen before the timing ended.
NEW_SEED, REFILL_SEED = 2, 3


def prefix(x: Tensor) -> Tensor:
    """Return the first tokens of the first batch row, as a float64 copy.

    ``x`` is an input or the output. In causal attention a prefix does not
    depend on later tokens, so 256 tokens are enough to check any length.
    """
    if x.ndim < 3:  # lambda of a layer, weight of the norm
        return _copy(x)
    return _copy(x[:1].narrow(-2, 0, min(256, x.shape[-2])))


def ends(x: Tensor) -> Tensor:
    """Return a float64 copy of the first and the last batch row, in full.

    A query against a cache needs all keys, so rows cannot be cut. The last
    row is included because it is the one that goes wrong if an index into a
    large cache overflows 32 bits.
    """
    if x.ndim < 3:
        return _copy(x)
    return _copy(x[:: max(1, len(x) - 1)])


def _copy(x: Tensor) -> Tensor:
    return x.detach().to(torch.float64, copy=True)


def relative_error(
    peer: Peer,
    given: Inputs,
    dtype: torch.dtype,
    part: Callable[[Tensor], Tensor] = prefix,
    when: str = "",
) -> float:
    """Return a peer's relative L2 error against float64.

    ``part`` selects the part of the inputs and of the output that is
    compared; the inputs are copied before the peer runs, and the truth is
    computed afterwards. ``when`` is added to the message. Raises
    ArithmeticError if the peer's result is wrong, has NaN anywhere, is not
    written or lies in an input's memory, or if the peer changes an input.
    """
    kept = [part(x) for x in given]
    before = fingerprint(given)
    with torch.no_grad(), poisoned(given[0].device):
        out = peer.attend(*given)
    check_unchanged(peer.name, given, before)
    check_result(peer.name, out, given)
    want = exact(peer.kind, kept)
    error = float((part(out) - want).norm() / want.norm())
    if not error < TOLERANCE[dtype]:
        raise ArithmeticError(
            f"{peer.name}: relative error {error:.2g}{when}, expected less "
            f"than {TOLERANCE[dtype]:.2g}"
        )
    return float(f"{error:.2e}")


def gradient_error(
    peer: Peer, given: Inputs, dtype: torch.dtype, when: str = ""
) -> float:
    """Return the largest relative L2 error of the gradients of q, k and v.

    The output's gradient is 0 except in a `prefix`, so that only this part
    of the inputs matters. Raises ArithmeticError as :func:`relative_error`,
    for an error of three times its tolerance.
    """
    kept = [prefix(x).requires_grad_() for x in given]
    before = fingerprint(given)
    with poisoned(given[0].device):
        out = peer.attend(*given)
        dy = torch.zeros_like(out)
        tokens = kept[0].shape[-2]
        g = torch.Generator(out.device).manual_seed(0)
        dy[:1, :, :tokens].normal_(generator=g)
        got = torch.autograd.grad(out, given, dy)
    check_unchanged(peer.name, given, before)
    truth = exact(peer.kind, kept)
    want = torch.autograd.grad(truth, kept, prefix(dy))
    errors = []
    for x, y in zip(got[:3], want[:3], strict=True):
        check_result(f"{peer.name}, gradients", x, given)
        errors.append(float((prefix(x) - y).norm() / y.norm()))
        if not errors[-1] < 3 * TOLERANCE[dtype]:
            raise ArithmeticError(
                f"{peer.name}: relative error {errors[-1]:.2g} of a gradient"
                f"{when}, expected less than {3 * TOLERANCE[dtype]:.2g}"
            )
    return float(f"{max(errors):.2e}")


def check_again(
    checks: Sequence[Callable[..., object]],
    given: Inputs,
    draw: Callable[[int], Inputs],
) -> None:
    """Check the peers of one kind after the timing, with other inputs.

    ``checks`` are called with inputs and ``when``: first with new tensors,
    drawn by ``draw`` from a seed, then with new numbers in the memory of
    ``given``, which was timed. So a result that was kept from an earlier
    call is found, by whatever it was kept.
    """
    new = draw(NEW_SEED)
    for check in checks:
        check(new, when=" with new inputs")
    del new
    refill(given, REFILL_SEED)
    for check in checks:
        check(given, when=" with new numbers in its inputs")


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
