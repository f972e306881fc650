"""Implementations of decoding to time: one query against a cache.

These are the ones of `minidiff.bench.peers` and two more that pay off for a
single query only. "matmul" uses plain matrix products: the attention map is
one row, so storing it costs almost nothing. "packed" passes V2's two branches,
which share keys, as two queries of one head: then a kernel reads each key
once, even if it does not support grouped heads.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend
from torch.nn.functional import scaled_dot_product_attention as sdpa

from minidiff.bench import variants
from minidiff.bench.peers import (
    KERNELS,
    OURS,
    Peer,
    compiled,
    flex,
    gated,
    held_to,
    joined,
    naive,
    normed,
    sdpa_peers,
    two_flex,
)


def peers(device: torch.device) -> Iterator[Peer]:
    """Yield every peer for a device, for all sizes.

    PyTorch's own fallback for SDPA, "math", comes after its kernels.
    """
    gpu = device.type == "cuda"
    kernels = KERNELS | {"math": SDPBackend.MATH} if gpu else {"sdpa": None}
    yield from sdpa_peers(kernels, gpu)
    for name, kernel in kernels.items():
        yield Peer(
            name=f"v2-packed/{name}",
            kind="v2",
            attend=held_to(kernel, joined(packed(sdpa), gated, gpu)),
        )
    for kind, attend in (
        ("plain", matmul),
        ("base", matmul),
        ("v2", joined(packed(matmul), gated, False)),
        ("diff", naive),
    ):
        yield Peer(
            name=f"{kind}/matmul",
            kind=kind,
            attend=compiled(attend) if gpu else attend,
        )
    if gpu:
        yield from OURS
        yield Peer(name="plain/flex", kind="plain", attend=flex())
        yield Peer(name="base/flex", kind="base", attend=flex())
        for kind, form, end in (
            ("v2", packed(flex()), gated),
            ("diff", two_flex(), normed),
        ):
            yield Peer(
                name=f"{kind}/flex",
                kind=kind,
                attend=joined(form, end, gpu),
            )


def matmul(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Compute attention without a mask by plain matrix products.

    q (B, H, T, D), k (B, H, S, D), v (B, H, S, Dv) -> (B, H, T, Dv)
    """
    return (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1) @ v


def packed(attend: variants.Attend) -> Callable[..., Tensor]:
    """Return V2's step with the branches as two queries of one head.

    The returned function takes q (B, H, 2, 1, D), k (B, H, S, D) and
    v (B, H, S, Dv), with one key head for each pair. ``attend`` must not
    mask any key.
    """

    def form(
        q: Tensor, k: Tensor, v: Tensor, lam: Tensor, join: variants.Join
    ) -> Tensor:
        out = attend(q.squeeze(3), k, v)  # (B, H, 2, Dv)
        o1, o2 = out.split(1, -2)
        return join(o1, o2, lam)

    return form
