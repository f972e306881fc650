"""PyTorch operators for the kernels, with autograd and torch.compile."""

from typing import Any

import torch
from torch import Tensor
from torch.library import custom_op, register_autograd

from minidiff.ops.arguments import SCHEMA, Arguments
from minidiff.ops.autocast import autocast_dtype
from minidiff.ops.dispatch import WIDTHS
from minidiff.ops.low_bit import restored
from minidiff.ops.readable import in_func_gradient, may_skip_dispatcher
from minidiff.ops.scale import positive_scale
from minidiff.ops.triton import low_bit
from minidiff.ops.triton.descriptors import gradient_like, rows
from minidiff.ops.triton.interpreter import INTERPRETED
from minidiff.ops.triton.launch import backward as launch_backward
from minidiff.ops.triton.launch import common
from minidiff.ops.triton.launch import decode as launch_decode
from minidiff.ops.triton.launch import forward as launch_forward
from minidiff.ops.triton.vmap import one_call

# Up to this many queries use the decode kernels, which split the keys: with
# so few queries the call is limited by memory bandwidth.
DECODE_QUERIES = 16


def triton_attention(
    x: Arguments,
    scales: tuple[Tensor, Tensor] | None = None,
    precision: str | None = None,
) -> Tensor:
    """Return the result of :func:`minidiff.diff_attention`, with the norm.

    With scales, k and v are codes of 8 bits; with ``precision``, q and k are
    multiplied in 8 bits. Raises ValueError or TypeError for inputs the kernels
    do not support, and NotImplementedError inside torch.func.grad.
    """
    if scales is not None and not _reads_codes(x):
        x, scales = restored(x, scales), None
    q, k, v, lam, scale = x.q, x.k, x.v, x.lam, x.scale
    assert scale is not None  # diff_attention has filled it in
    dtype = autocast_dtype(q.device)
    if dtype is not None:
        q = q.to(dtype)
        if scales is None:
            k, v = k.to(dtype), v.to(dtype)
    _check(q, k, v)
    if precision == "fp8" and common.capability(q.device) < 89:
        raise ValueError(
            "precision: got 'fp8' on a GPU of compute capability "
            f"{common.capability(q.device) / 10}, expected 8.9 or more, "
            "precision='int8', or backend='eager'"
        )
    if in_func_gradient():
        raise NotImplementedError(
            "backend: 'triton' does not support torch.func.grad and its kin, "
            "also around torch.vmap; expected backend='eager', or gradients "
            "by torch.autograd.grad or backward()"
        )
    B, H, _, T, _ = q.shape
    if not isinstance(lam, Tensor):
        lam = torch.full((), lam, device=q.device, dtype=torch.float32)
    # The kernels return one gradient of lam for each row; the backward of
    # expand sums these to lam's own shape.
    lam = lam.to(q.device).expand(B, H, T)
    q, scale = positive_scale(q, scale)
    norm_weight, key_lengths = x.norm_weight, x.key_lengths
    if norm_weight is not None:  # kernels assume stride 1
        norm_weight = norm_weight.contiguous()
    if key_lengths is not None:
        key_lengths = key_lengths.contiguous()
    given = x._replace(
        q=q,
        k=k,
        v=v,
        lam=lam,
        scale=scale,
        norm_weight=norm_weight,
        key_lengths=key_lengths,
    )
    if scales is not None:
        y: Tensor = low_bit.decode(*given, *scales)
    elif precision is not None:
        y = low_bit.forward(*given, precision)
    else:
        y = _attend(given)
    return y.to(x.q.dtype)


def _attend(x: Arguments) -> Tensor:
    """Decode few queries without gradients; else run the forward pass.

    The operators below are for whom the dispatcher tells of them. Where there
    is nobody, it is left out: it takes longer than the kernels of a short row.
    """
    learns, plain = _learns(x), may_skip_dispatcher(*x)
    if x.q.shape[3] <= DECODE_QUERIES and not learns:
        return launch_decode.decode(x) if plain else decode(*x)
    if not plain:
        return forward(*x, learns)[0]
    return _Direct.apply(*x) if learns else launch_forward.forward(x, False)[0]


def _reads_codes(x: Arguments) -> bool:
    """Tell whether a kernel takes codes; GPUs before 8.9 have no fp8."""
    few = x.q.shape[3] <= DECODE_QUERIES and not _learns(x)
    return few and (
        x.k.dtype == x.v.dtype == torch.int8
        or common.capability(x.q.device) >= 89
    )


def _learns(x: Arguments) -> bool:
    return torch.is_grad_enabled() and any(
        isinstance(a, Tensor) and a.requires_grad for a in x
    )


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
    if INTERPRETED and q.dtype == torch.bfloat16:
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
    if q.device.type != "cuda" and not INTERPRETED:
        raise ValueError(
            f"backend: got 'triton' with q on {q.device.type}, expected a "
            "CUDA device; to run the kernels in Triton's interpreter on a "
            "CPU, set TRITON_INTERPRET=1 in the environment before Python is "
            "started"
        )


@custom_op(
    "minidiff::diff_forward",
    mutates_args=(),
    schema=f"({SCHEMA}, bool keep) -> (Tensor, Tensor, Tensor, Tensor)",
)
def forward(*flat: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """See :func:`minidiff.ops.triton.launch.forward.forward`."""
    *given, keep = flat
    return launch_forward.forward(Arguments(*given), keep)


@forward.register_fake
def _(*flat: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    *given, keep = flat
    x = Arguments(*given)
    B, H, _, T, _ = x.q.shape
    if not keep:
        log_sums = x.q.new_empty(0, dtype=torch.float32)
        return (
            common.heads_last(x),
            x.q.new_empty(0),
            x.q.new_empty(0),
            log_sums,
        )
    normed = x.norm_scale is not None
    return (
        common.heads_last(x),
        common.heads_last(x) if normed else x.q.new_empty(0),
        common.heads_last(x),
        rows(B, H, 2, T, device=x.q.device),
    )


@custom_op(
    "minidiff::diff_backward",
    mutates_args=(),
    schema=f"(Tensor dy, {SCHEMA}, Tensor o, Tensor o2, Tensor lse)"
    " -> (Tensor, Tensor, Tensor, Tensor, Tensor)",
)
def backward(dy: Tensor, *flat: Any) -> tuple[Tensor, ...]:
    """See :func:`minidiff.ops.triton.launch.backward.backward`."""
    *given, o, o2, lse = flat
    return launch_backward.backward(dy, Arguments(*given), o, o2, lse)


@backward.register_fake
def _(dy: Tensor, *flat: Any) -> tuple[Tensor, ...]:
    *given, _, _, _ = flat
    x = Arguments(*given)
    B, H, _, T, _ = x.q.shape
    weights = 0 if x.norm_weight is None else x.v.shape[-1]
    return (
        gradient_like(x.q),
        gradient_like(x.k),
        gradient_like(x.v),
        x.q.new_empty(B, H, T, dtype=torch.float32),
        x.q.new_empty(weights, dtype=torch.float32),
    )


def _save(
    ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]
) -> None:
    *given, _ = inputs
    y, o, o2, lse = output
    o = y if Arguments(*given).norm_scale is None else o
    # Tensors must be saved separately; None marks their places in the rest.
    tensors = [a if isinstance(a, Tensor) else None for a in given]
    ctx.rest = [None if isinstance(a, Tensor) else a for a in given]
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*tensors, o, o2, lse)


def _differentiate(
    ctx: Any, dy: Tensor | None, *unused: Tensor | None
) -> tuple[Tensor | None, ...]:
    gradients: dict[str, Tensor | None] = dict.fromkeys(Arguments._fields)
    if dy is None:
        return *gradients.values(), None
    *tensors, o, o2, lse = ctx.saved_tensors
    given = zip(tensors, ctx.rest, strict=True)
    x = Arguments(*(b if a is None else a for a, b in given))
    # With gradients enabled, somebody wants to differentiate the gradients.
    if may_skip_dispatcher(dy, *x) and not torch.is_grad_enabled():
        made = launch_backward.backward(dy, x, o, o2, lse)
    else:
        made = backward(dy, *x, o, o2, lse)
    dq, dk, dv, dlam, dweight = made
    dlam = dlam.to(common.lam_of(x).dtype)
    gradients |= {"q": dq, "k": dk, "v": dv, "lam": dlam}
    if x.norm_weight is not None:
        gradients["norm_weight"] = dweight.to(x.norm_weight.dtype)
    return *gradients.values(), None


class _Direct(torch.autograd.Function):
    """`forward` and `backward` without the dispatcher."""

    @staticmethod
    def forward(ctx: Any, *given: Any) -> Tensor:
        output = launch_forward.forward(Arguments(*given), True)
        _save(ctx, (*given, True), output)
        return output[0]

    @staticmethod
    def backward(ctx: Any, dy: Tensor | None) -> tuple[Tensor | None, ...]:
        return _differentiate(ctx, dy)[:-1]


def _refuse(ctx: Any, *unused: Tensor | None) -> None:
    raise NotImplementedError(
        "backend: 'triton' has no second derivative; expected "
        "backend='eager' where gradients are differentiated again"
    )


register_autograd(forward, _differentiate, setup_context=_save)
register_autograd(backward, _refuse)


@custom_op(
    "minidiff::diff_decode", mutates_args=(), schema=f"({SCHEMA}) -> Tensor"
)
def decode(*given: Any) -> Tensor:
    """See :func:`minidiff.ops.triton.launch.decode.decode`."""
    return launch_decode.decode(Arguments(*given))


@decode.register_fake
def _(*given: Any) -> Tensor:
    return common.heads_last(Arguments(*given))


# Under vmap, autograd works outside the mapped function. Inside it, tensors do
# not show whether they require a gradient, and nothing is saved for backward.
# These rules receive unwrapped tensors, so `_attend` sees requires_grad.
@forward.register_vmap
def _(info: Any, in_dims: Any, *flat: Any) -> tuple[Any, Any]:
    x, dims = Arguments(*flat[:-1]), Arguments(*in_dims[:-1])
    y = one_call(_attend, info.batch_size, x, dims)
    return (y, *(y.new_empty(0) for _ in range(3))), (0, None, None, None)


@decode.register_vmap
def _(info: Any, in_dims: Any, *given: Any) -> tuple[Any, Any]:
    x, dims = Arguments(*given), Arguments(*in_dims)
    return one_call(_attend, info.batch_size, x, dims), 0
