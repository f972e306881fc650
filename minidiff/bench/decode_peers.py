"""Implementations of decoding to time: one query against a cache.

They are those of `minidiff.bench.peers`, and two tricks for a single query. As
matrix products its map is one row, so writing it out costs nothing. And V2's
branches, which share keys, may stand as two queries of one head ("packed"):
a kernel then reads no key twice, whether or not it knows of groups.
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
    """Every contender on one device, whatever the sizes.

    Of the calls of SDPA, PyTorch's own fallback, "math", comes last.
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
    """Every query sees every key, by plain products.

    q (B, H, T, D), k (B, H, S, D), v (B, H, S, Dv) -> (B, H, T, Dv)
    """
    return (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1) @ v


def packed(attend: variants.Attend) -> Callable[..., Tensor]:
    """V2's step with the branches as two queries of one head.

    The form takes q (B, H, 2, 1, D), k (B, H, S, D) and v (B, H, S, Dv), a key
    head for each pair. ``attend`` must hide nothing.
    """

    def form(
        q: Tensor, k: Tensor, v: Tensor, lam: Tensor, join: variants.Join
    ) -> Tensor:
        out = attend(q.squeeze(3), k, v)  # (B, H, 2, Dv)
        o1, o2 = out.split(1, -2)
        return join(o1, o2, lam)

    return form
