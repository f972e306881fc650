"""Implementations of attention to time: PyTorch's own, and our kernels.

Each peer takes the outputs of a layer's input projections and returns the
input of its output projection. So the differential peers include the
subtraction and the headwise norm. decode_peers.py uses the same functions for
a single decoding step.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.attention.flex_attention import (
    BlockMask,
    create_block_mask,
    flex_attention,
)
from torch.nn.functional import pad
from torch.nn.functional import scaled_dot_product_attention as sdpa

from minidiff.bench import variants
from minidiff.bench.inputs import Shape
from minidiff.ops import diff_attention
from minidiff.ops.epilogue import finish, subtract
from minidiff.ops.wide import wide
from minidiff.training.compile import own_code

KERNELS = {
    "cudnn": SDPBackend.CUDNN_ATTENTION,
    "flash": SDPBackend.FLASH_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
}


@dataclass(frozen=True, kw_only=True)
class Peer:
    """One implementation to time.

    ``kind`` says what it computes: "plain" (2H heads of width D, the model
    that the paper compares with), "base" (H heads of width 2D), "diff" or
    "v2". ``attend`` maps the inputs of that kind to (B, heads, T, width).
    """

    name: str
    kind: str
    attend: Callable[..., Tensor]


def peers(shape: Shape, device: torch.device) -> Iterator[Peer]:
    """Yield every peer for one shape on one device.

    On a GPU each SDPA peer is restricted to one of PyTorch's kernels;
    FlexAttention and the operations after the attention (subtraction, norm)
    are compiled.
    """
    gpu = device.type == "cuda"
    yield from sdpa_peers(KERNELS if gpu else {"sdpa": None}, gpu)
    if gpu:
        yield from OURS
        for kernel_name in ("cudnn", "flash"):
            yield Peer(
                name=f"diff2/{kernel_name}-pad",
                kind="diff",
                attend=held_to(
                    KERNELS[kernel_name], joined(padded, normed, gpu)
                ),
            )
        # The mask is built once, outside the timing.
        mask = create_block_mask(
            lambda b, h, t, s: s <= t, None, None, shape.T, shape.T, "cuda"
        )
        yield Peer(
            name="diff/flex",
            kind="diff",
            attend=joined(two_flex(mask), normed, gpu),
        )
        yield Peer(
            name="diff/naive-compiled", kind="diff", attend=compiled(naive)
        )
    yield Peer(name="diff/naive", kind="diff", attend=naive)


def sdpa_peers(
    kernels: Mapping[str, SDPBackend | None], gpu: bool
) -> Iterator[Peer]:
    """Yield each variant made of SDPA calls, once for each kernel."""
    for kernel_name, kernel in kernels.items():
        for name, kind, attend in (
            ("plain", "plain", plain),
            ("base", "base", plain),
            ("v2", "v2", joined(variants.v2, gated, gpu)),
            ("diff2", "diff", joined(variants.two_calls, normed, gpu)),
            ("diff4", "diff", joined(variants.four_calls, normed, gpu)),
            ("hf-stacked", "diff", joined(variants.stacked, normed, gpu)),
        ):
            yield Peer(
                name=f"{name}/{kernel_name}",
                kind=kind,
                attend=held_to(kernel, attend),
            )


def plain(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Causal softmax attention, the baseline of the comparison."""
    return variants.causal(q, k, v)


def normed(
    o1: Tensor, o2: Tensor, lam: Tensor, weight: Tensor | None = None
) -> Tensor:
    """Apply V1's last step: the subtraction, and layer 0's headwise norm."""
    return finish(subtract(o1, o2, lam), o1.dtype, weight, 0.8, 1e-5)


def gated(o1: Tensor, o2: Tensor, logits: Tensor) -> Tensor:
    """Apply V2's last step: subtract with lambda a sigmoid, without a norm."""
    lam = wide(logits)[..., 0].sigmoid()
    return finish(subtract(o1, o2, lam), o1.dtype, None, None, 0.0)


def fused(
    q: Tensor, k: Tensor, v: Tensor, lam: Tensor, weight: Tensor
) -> Tensor:
    """Our own kernels, V1, norm included."""
    return diff_attention(
        q, k, v, lam, norm_weight=weight, norm_scale=0.8, backend="triton"
    )


def fused_v2(q: Tensor, k: Tensor, v: Tensor, logits: Tensor) -> Tensor:
    """Our own kernels, V2."""
    lam = logits[..., 0].float().sigmoid()
    return diff_attention(q, k[:, :, None], v, lam, backend="triton")


OURS = (
    Peer(name="diff/triton", kind="diff", attend=fused),
    Peer(name="v2/triton", kind="v2", attend=fused_v2),
)


def naive(
    q: Tensor, k: Tensor, v: Tensor, lam: Tensor, weight: Tensor
) -> Tensor:
    """Compute V1 with both maps in memory, norm included."""
    return finish(variants.naive(q, k, v, lam), q.dtype, weight, 0.8, 1e-5)


def joined(
    form: Callable[..., Tensor], end: Callable[..., Tensor], gpu: bool
) -> Callable[..., Tensor]:
    """Combine a variant of attention with its last step, ``end``.

    On a GPU only the last step is compiled: in a compiled function PyTorch
    would choose the attention kernel by itself.
    """
    if gpu:
        end = compiled(end)

    def attend(
        q: Tensor, k: Tensor, v: Tensor, lam: Tensor, *weight: Tensor
    ) -> Tensor:
        def join(o1: Tensor, o2: Tensor, lam: float | Tensor) -> Tensor:
            return end(o1, o2, lam, *weight)

        return form(q, k, v, lam, join=join)

    return attend


def compiled(f: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Compile f for the sizes it is called with, separately from others."""
    return torch.compile(own_code(f), dynamic=False)


def held_to(
    kernel: SDPBackend | None, attend: Callable[..., Tensor]
) -> Callable[..., Tensor]:
    """Restrict ``attend`` to one SDPA kernel."""
    if kernel is None:
        return attend

    def call(*given: Tensor) -> Tensor:
        with sdpa_kernel(kernel):
            return attend(*given)

    return call


def padded(
    q: Tensor, k: Tensor, v: Tensor, lam: Tensor, join: variants.Join
) -> Tensor:
    """Make two calls, with q and k zero-padded to the values' width.

    For kernels that need equal widths; it costs 8 units of T x S x D
    multiply-adds instead of 6.
    """
    D = q.shape[-1]
    wide = (0, v.shape[-1] - D)
    o1, o2 = (
        sdpa(
            pad(q[:, :, i], wide),
            pad(k[:, :, i], wide),
            v,
            is_causal=True,
            scale=D**-0.5,
        )
        for i in (0, 1)
    )
    return join(o1, o2, lam)


def flex(mask: BlockMask | None = None) -> variants.Attend:
    """Return a FlexAttention call; without a mask it attends to all keys."""

    def one(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return flex_attention(q, k, v, block_mask=mask)

    return compiled(one)


def two_flex(mask: BlockMask | None = None) -> Callable[..., Tensor]:
    """Return a variant with a FlexAttention call for each branch."""
    return partial(variants.two_calls, attend=flex(mask))
