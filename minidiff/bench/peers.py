"""Implementations to time: every one that PyTorch alone offers, and ours.

The pieces serve a single decoding step as well: see decode_peers.

Each peer gets inputs as a layer's projections would give them, and returns
what the output projection takes: for the differential ones that includes the
subtraction and the headwise norm.
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
    """One contender.

    ``kind`` says what it computes: "plain" (2H heads of width D: the paper's
    match), "base" (H heads of width 2D), "diff" or "v2". ``attend`` maps the
    inputs of that kind to (B, heads, T, width).
    """

    name: str
    kind: str
    attend: Callable[..., Tensor]


def peers(shape: Shape, device: torch.device) -> Iterator[Peer]:
    """Every contender for one shape on one device.

    On a GPU each SDPA peer is held to one of PyTorch's kernels; FlexAttention
    and whatever follows the attention (subtraction, norm) are compiled.
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
    """Every form that is calls of SDPA, held to each of the kernels."""
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
    """Causal softmax attention: what the differential one is held against."""
    return variants.causal(q, k, v)


def normed(
    o1: Tensor, o2: Tensor, lam: Tensor, weight: Tensor | None = None
) -> Tensor:
    """V1's end: the subtraction, and the headwise norm as in layer 0."""
    return finish(subtract(o1, o2, lam), o1.dtype, weight, 0.8, 1e-5)


def gated(o1: Tensor, o2: Tensor, logits: Tensor) -> Tensor:
    """V2's end: lambda is a sigmoid, and there is no norm."""
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
    """Both maps written out, then the norm."""
    return finish(variants.naive(q, k, v, lam), q.dtype, weight, 0.8, 1e-5)


def joined(
    form: Callable[..., Tensor], end: Callable[..., Tensor], gpu: bool
) -> Callable[..., Tensor]:
    """Give a form its end; PyTorch's attention itself is never compiled.

    Inside a compiled function it would choose its kernel by itself.
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
    """Compile f for the sizes that come, apart from all others."""
    return torch.compile(own_code(f), dynamic=False)


def held_to(
    kernel: SDPBackend | None, attend: Callable[..., Tensor]
) -> Callable[..., Tensor]:
    """Allow one SDPA kernel and no other."""
    if kernel is None:
        return attend

    def call(*given: Tensor) -> Tensor:
        with sdpa_kernel(kernel):
            return attend(*given)

    return call


def padded(
    q: Tensor, k: Tensor, v: Tensor, lam: Tensor, join: variants.Join
) -> Tensor:
    """Two calls with queries and keys padded by zeros to the values' width.

    For kernels that take one width only; it costs 8 units for 6.
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
    """One FlexAttention call; without a mask every key is seen."""

    def one(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return flex_attention(q, k, v, block_mask=mask)

    return compiled(one)


def two_flex(mask: BlockMask | None = None) -> Callable[..., Tensor]:
    """Two FlexAttention calls, one for each branch."""
    return partial(variants.two_calls, attend=flex(mask))
