"""The kernels as PyTorch operators: traced, compiled, differentiated."""

from typing import Any

import torch
from torch import Tensor
from torch.library import custom_op, register_autograd

from minidiff.ops.dispatch import WIDTHS
from minidiff.ops.triton.descriptors import gradient_like, rows
from minidiff.ops.triton.launch import backward as launch_backward
from minidiff.ops.triton.launch import common
from minidiff.ops.triton.launch import decode as launch_decode
from minidiff.ops.triton.launch import forward as launch_forward

# So few queries against a cache are memory-bound: split the keys.
DECODE_QUERIES = 16


def triton_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    lam: float | Tensor,
    causal: bool,
    scale: float,
    key_lengths: Tensor | None,
    norm_weight: Tensor | None,
    norm_scale: float | None,
    eps: float,
) -> Tensor:
    """Return the whole of :func:`minidiff.diff_attention`, norm included.

    Raises ValueError or TypeError for inputs the kernels do not support.
    """
    given_dtype = q.dtype
    if torch.is_autocast_enabled(q.device.type):
        dtype = torch.get_autocast_dtype(q.device.type)
        q, k, v = q.to(dtype), k.to(dtype), v.to(dtype)
    _check(q, k, v)
    B, H, _, T, _ = q.shape
    if not isinstance(lam, Tensor):
        lam = torch.full((), lam, device=q.device, dtype=torch.float32)
    # Its gradient comes back for each row; expand's own backward sums it.
    lam = lam.to(q.device).expand(B, H, T)
    if scale <= 0:  # the running maximum is taken before the scale
        q, scale = (-q, -scale) if scale else (0 * q, 1.0)
    if norm_weight is not None:
        norm_weight = norm_weight.contiguous()
    given = (q, k, v, lam, norm_weight)
    learns = torch.is_grad_enabled() and any(
        x is not None and x.requires_grad for x in given
    )
    if key_lengths is not None:  # kernels step by 1 through both
        key_lengths = key_lengths.contiguous()
    rest = (key_lengths, causal, scale, norm_scale, eps)
    if T <= DECODE_QUERIES and not learns:
        out = decode(*given, *rest)
    else:
        out = forward(*given, *rest, learns)[0]
    return out.to(given_dtype)


def _check(q: Tensor, k: Tensor, v: Tensor) -> None:
    D, Dv = q.shape[-1], v.shape[-1]
    if D not in WIDTHS:
        raise ValueError(
            f"q: got width D = {D} with backend 'triton', expected one of "
            f"{WIDTHS}, or backend='sdpa'"
        )
    if Dv not in (D, 2 * D):
        raise ValueError(
            f"v: got width Dv = {Dv} with backend 'triton', expected D = {D} "
            f"or 2D = {2 * D}, or backend='sdpa'"
        )
    if q.dtype == torch.float64:
        raise TypeError(
            "q: got float64 with backend 'triton', expected float32 or "
            "narrower, or backend='eager'"
        )
    if common.INTERPRETED and q.dtype == torch.bfloat16:
        raise TypeError(
            "q: got bfloat16 in Triton's interpreter, which silently computes "
            "it incorrectly; expected float32 or float16 there"
        )
    if common.capability(q.device) < 80:
        raise ValueError(
            "backend: got 'triton' on a GPU of compute capability "
            f"{common.capability(q.device) / 10}, expected 8.0 or more, or "
            "backend='sdpa'"
        )
    if q.device.type != "cuda" and not common.INTERPRETED:
        raise ValueError(
            f"backend: got 'triton' with q on {q.device.type}, expected a "
            "CUDA device, or TRITON_INTERPRET=1 in the environment before "
            "this backend is first used"
        )


@custom_op("minidiff::diff_forward", mutates_args=())
def forward(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    lam: Tensor,
    norm_weight: Tensor | None,
    key_lengths: Tensor | None,
    causal: bool,
    scale: float,
    norm_scale: float | None,
    eps: float,
    keep: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """See :func:`minidiff.ops.triton.launch.forward.forward`."""
    return launch_forward.forward(
        q, k, v, lam, norm_weight, key_lengths, causal, scale, norm_scale,
        eps, keep,
    )  # fmt: skip


@forward.register_fake
def _(q: Tensor, k: Tensor, v: Tensor, *rest: Any) -> tuple[Tensor, ...]:
    *_, norm_scale, _, keep = rest
    B, H, _, T, _ = q.shape
    dv = v.shape[-1]
    return (
        common.heads_last(q, dv),
        common.heads_last(q, dv)
        if keep and norm_scale is not None
        else q.new_empty(0),
        common.heads_last(q, dv) if keep else q.new_empty(0),
        rows(B, H, 2, T, device=q.device)
        if keep
        else q.new_empty(0, dtype=torch.float32),
    )


@custom_op("minidiff::diff_backward", mutates_args=())
def backward(
    dy: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    lam: Tensor,
    norm_weight: Tensor | None,
    key_lengths: Tensor | None,
    o: Tensor,
    o2: Tensor,
    lse: Tensor,
    causal: bool,
    scale: float,
    norm_scale: float | None,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """See :func:`minidiff.ops.triton.launch.backward.backward`."""
    return launch_backward.backward(
        dy, q, k, v, lam, norm_weight, key_lengths, o, o2, lse, causal,
        scale, norm_scale, eps,
    )  # fmt: skip


@backward.register_fake
def _(
    dy: Tensor, q: Tensor, k: Tensor, v: Tensor, lam: Tensor, *rest: Any
) -> tuple[Tensor, ...]:
    norm_weight = rest[0]
    B, H, _, T, _ = q.shape
    weights = 0 if norm_weight is None else v.shape[-1]
    return (
        gradient_like(q),
        gradient_like(k),
        gradient_like(v),
        q.new_empty(B, H, T, dtype=torch.float32),
        q.new_empty(weights, dtype=torch.float32),
    )


def _save(
    ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]
) -> None:
    q, k, v, lam, norm_weight, key_lengths, *options, _keep = inputs
    y, o, o2, lse = output
    ctx.set_materialize_grads(False)
    ctx.options = options
    ctx.save_for_backward(
        q, k, v, lam, norm_weight, key_lengths,
        y if options[2] is None else o, o2, lse,
    )  # fmt: skip


def _differentiate(
    ctx: Any, dy: Tensor | None, *unused: Tensor | None
) -> tuple[Tensor | None, ...]:
    if dy is None:
        return (None,) * 11
    q, k, v, lam, norm_weight, *kept = ctx.saved_tensors
    dq, dk, dv, dlam, dweight = backward(
        dy, q, k, v, lam, norm_weight, *kept, *ctx.options
    )
    dlam = dlam.to(lam.dtype)
    dweight = None if norm_weight is None else dweight.to(norm_weight.dtype)
    return dq, dk, dv, dlam, dweight, *(None,) * 6


def _refuse(ctx: Any, *unused: Tensor | None) -> None:
    raise NotImplementedError(
        "backend: 'triton' has no second derivative; expected "
        "backend='eager' where gradients are differentiated again"
    )


register_autograd(forward, _differentiate, setup_context=_save)
register_autograd(backward, _refuse)


@custom_op("minidiff::diff_decode", mutates_args=())
def decode(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    lam: Tensor,
    norm_weight: Tensor | None,
    key_lengths: Tensor | None,
    causal: bool,
    scale: float,
    norm_scale: float | None,
    eps: float,
) -> Tensor:
    """See :func:`minidiff.ops.triton.launch.decode.decode`."""
    return launch_decode.decode(
        q, k, v, lam, norm_weight, key_lengths, causal, scale, norm_scale, eps
    )


@decode.register_fake
def _(q: Tensor, k: Tensor, v: Tensor, *rest: Any) -> Tensor:
    return common.heads_last(q, v.shape[-1])
