"""The flex backend: PyTorch generates a kernel for our mask function."""

import warnings
from collections.abc import Callable
from functools import cache, lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import get_proxy_mode
from torch.nn.attention.flex_attention import (
    BlockMask,
    create_block_mask,
    flex_attention,
)

from minidiff.ops.arguments import Arguments
from minidiff.ops.epilogue import subtract
from minidiff.ops.masks import blank_padding
from minidiff.ops.readable import (
    in_transform,
    is_certain,
    is_fake,
    is_ordinary,
)


def flex_backend(x: Arguments) -> Tensor:
    """Return ``A1 v - lam A2 v`` (B, H, T, Dv) in float32 or wider.

    FlexAttention is called once for each branch. On a GPU it is compiled,
    which takes seconds whenever the shapes require a new compilation, and no
    attention map is stored. On a CPU it has no backward pass and runs
    PyTorch's uncompiled version, which does store each map.

    Raises ValueError or TypeError for inputs FlexAttention does not support:
    gradients on a CPU; function transforms and make_fx; D or Dv below 16, or
    float64, on other devices.
    """
    q, k, v = x.q, x.k, x.v
    T, S = q.shape[3], k.shape[3]
    if in_transform():
        raise ValueError(
            "backend: got 'flex' inside a function transform, such as "
            "torch.vmap or torch.func.grad, or torch.jit.trace; "
            "FlexAttention supports none of them, expected backend='sdpa'"
        )
    if not torch.compiler.is_compiling() and get_proxy_mode() is not None:
        raise ValueError(
            "backend: got 'flex' inside make_fx, which FlexAttention does not "
            "support, expected torch.export, torch.compile, or backend='sdpa'"
        )
    if q.device.type == "cpu":
        q, k, v = _without_gradients(q, k, v)
    else:
        _check_compiled(q, v)
    mask = None
    if x.key_lengths is not None:
        mask = _padded_mask(T, S, x.causal, x.key_lengths)
    elif x.causal:
        # A mask that belongs to the caller's mode is made, but not kept.
        kept = is_ordinary(q.device)
        make = _causal_mask if kept else _causal_mask.__wrapped__
        mask = make(T, S, q.device)
    k, v = blank_padding(k, x.key_lengths), blank_padding(v, x.key_lengths)
    # Inside a compiled graph it is compiled with everything else. Compiled by
    # itself it would launch a kernel on fake tensors, which have no memory.
    inside = torch.compiler.is_dynamo_compiling() or is_fake(q, k, v)
    run: Any = flex_attention if inside else _flex(q.device.type)
    out1, out2 = (
        run(
            q[:, :, branch],
            k[:, :, branch % k.shape[2]],
            v,
            block_mask=mask,
            scale=x.scale,
            enable_gqa=not is_certain(q.shape[1] == v.shape[1]),
        )
        for branch in (0, 1)
    )
    return subtract(out1, out2, x.lam)


def _without_gradients(*inputs: Tensor) -> tuple[Tensor, ...]:
    if torch.is_grad_enabled() and any(x.requires_grad for x in inputs):
        raise ValueError(
            "backend: got 'flex' on a CPU with an input that requires a "
            "gradient; FlexAttention is forward only there, expected "
            "torch.no_grad() or backend='sdpa'"
        )
    # FlexAttention rejects a parameter even under no_grad, so detach it.
    return tuple(x.detach() for x in inputs)


def _check_compiled(q: Tensor, v: Tensor) -> None:
    """Replace the compiler's long error messages by short ones."""
    D, Dv = q.shape[-1], v.shape[-1]
    if min(D, Dv) < 16:
        raise ValueError(
            f"backend: got 'flex' with D = {D} and Dv = {Dv} on "
            f"{q.device.type}, expected 16 or more there, or backend='sdpa'"
        )
    if q.dtype == torch.float64:
        raise TypeError(
            f"backend: got 'flex' with float64 on {q.device.type}, expected "
            "float32 or narrower there, or backend='sdpa'"
        )
    if q.is_meta:
        raise ValueError(
            "backend: got 'flex' on meta, where FlexAttention does not work, "
            "expected backend='sdpa' or 'eager'"
        )


@cache
def _flex(device: str) -> Callable[..., Tensor]:
    """Return flex_attention: compiled on a GPU, uncompiled on a CPU."""
    if device != "cpu":
        return torch.compile(flex_attention)

    def plain(*args: Any, **options: Any) -> Tensor:
        with warnings.catch_warnings():
            # It warns that it is not compiled. That is deliberate: compiling
            # it for a CPU takes half a minute and needs a C++ compiler.
            warnings.filterwarnings("ignore", ".*without torch.compile")
            return flex_attention(*args, **options)

    return plain


@lru_cache(maxsize=16)
def _causal_mask(T: int, S: int, device: torch.device) -> BlockMask:
    """Return the mask where query t sees keys 0 to t + S - T.

    The mask is cached, because it is slow to build.
    """

    def seen(b: Tensor, h: Tensor, t: Tensor, s: Tensor) -> Tensor:
        return s <= t + (S - T)

    # The mask is cached. If it were created in inference mode, a later
    # training step would fail: autograd cannot save inference tensors.
    with torch.inference_mode(False):
        return create_block_mask(seen, None, None, T, S, device=device)


def _padded_mask(
    T: int, S: int, causal: bool, key_lengths: Tensor
) -> BlockMask:
    """Return the mask that also hides keys s >= key_lengths[b].

    The causal condition, as in `_causal_mask`, applies only if ``causal``.
    """

    def seen(b: Tensor, h: Tensor, t: Tensor, s: Tensor) -> Tensor:
        inside = s < key_lengths[b]
        return inside & (s <= t + (S - T)) if causal else inside

    B, device = len(key_lengths), key_lengths.device
    return create_block_mask(seen, B, None, T, S, device=device)
