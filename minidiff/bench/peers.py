"""Who is timed: every way to attend that PyTorch alone offers.

Each peer gets inputs as a layer's projections would give them, and returns
what the output projection takes: for the differential ones that includes the
subtraction and the headwise norm.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.attention.flex_attention import (
    create_block_mask,
    flex_attention,
)
from torch.nn.functional import pad
from torch.nn.functional import scaled_dot_product_attention as sdpa

from minidiff.bench import forms
from minidiff.ops.finish import finish

Inputs = tuple[Tensor, ...]


class Shape(NamedTuple):
    """One setting: B rows of T tokens, H differential heads, branch width D.

    The plain models of equal size have 2H heads of width D, or H of 2D.
    """

    B: int
    H: int
    T: int
    D: int


@dataclass(frozen=True, kw_only=True)
class Peer:
    """One contender.

    ``kind`` says what it computes: "plain" (2H heads of width D: the paper's
    match), "base" (H heads of width 2D), "diff" or "v2". ``attend`` maps the
    inputs of that kind to (B, heads, T, width). ``kernel`` is the only SDPA
    kernel it may use, or None for PyTorch's own choice.
    """

    name: str
    kind: str
    attend: Callable[..., Tensor]
    kernel: SDPBackend | None = None
    compiled: bool = True

    def context(self) -> AbstractContextManager[object]:
        """Allow the peer's own SDPA kernel and no other."""
        return sdpa_kernel(self.kernel) if self.kernel else nullcontext()


def inputs(
    kind: str, shape: Shape, device: torch.device, dtype: torch.dtype
) -> Inputs:
    """Draw the inputs of one kind, strided as projections leave them.

    plain, base: q, k, v. diff, v2: q, k, v, lam and the norm's weight, with
    the shapes of :func:`minidiff.diff_attention`; in V2 both branches share
    keys and values of width 2D, its lambda is one a token and head, and it
    has no norm.
    """
    B, H, T, D = shape
    g = torch.Generator(device).manual_seed(0)

    def draw(*sizes: int) -> Tensor:
        x = torch.randn(*sizes, generator=g, device=device, dtype=dtype)
        return x.requires_grad_()

    def heads(n: int, width: int) -> Tensor:
        return draw(B, T, n, width).transpose(1, 2)

    def pairs(branches: int, width: int) -> Tensor:
        return draw(B, T, H, branches, width).permute(0, 2, 3, 1, 4)

    if kind == "plain":
        return tuple(heads(2 * H, D) for _ in range(3))
    if kind == "base":
        return tuple(heads(H, 2 * D) for _ in range(3))
    if kind == "diff":
        lam = torch.tensor(0.8, device=device, requires_grad=True)
        return pairs(2, D), pairs(2, D), heads(H, 2 * D), lam, draw(2 * D)
    lam = draw(B, T, H).transpose(1, 2)
    return pairs(2, 2 * D), pairs(1, 2 * D), heads(H, 2 * D), lam


def peers(shape: Shape, device: torch.device) -> Iterator[Peer]:
    """Every contender for one shape on one device."""
    if device.type != "cuda":
        yield Peer(name="plain/sdpa", kind="plain", attend=plain)
        yield Peer(name="base/sdpa", kind="base", attend=plain)
        for name, form in FORMS.items():
            yield Peer(name=f"{name}/sdpa", kind="diff", attend=normed(form))
        yield Peer(name="v2/sdpa", kind="v2", attend=v2)
        yield Peer(name="diff/naive", kind="diff", attend=normed(forms.naive))
        return
    cudnn, flash = SDPBackend.CUDNN_ATTENTION, SDPBackend.FLASH_ATTENTION
    efficient = SDPBackend.EFFICIENT_ATTENTION
    for name, kernel in (("cudnn", cudnn), ("flash", flash)):
        for kind in ("plain", "base"):
            yield Peer(
                name=f"{kind}/{name}", kind=kind, attend=plain, kernel=kernel
            )
        yield Peer(name=f"v2/{name}", kind="v2", attend=v2, kernel=kernel)
    for name, form in FORMS.items():
        yield Peer(
            name=f"{name}/cudnn",
            kind="diff",
            attend=normed(form),
            kernel=cudnn,
        )
    for name, kernel in (("cudnn-pad", cudnn), ("flash-pad", flash)):
        yield Peer(
            name=f"diff2/{name}",
            kind="diff",
            attend=normed(padded),
            kernel=kernel,
        )
    yield Peer(
        name="diff2/efficient",
        kind="diff",
        attend=normed(forms.two_calls),
        kernel=efficient,
    )
    yield Peer(
        name="diff4/flash",
        kind="diff",
        attend=normed(forms.four_calls),
        kernel=flash,
    )
    yield Peer(name="diff/flex", kind="diff", attend=normed(flex(shape)))
    naive = normed(forms.naive)
    yield Peer(name="diff/naive-compiled", kind="diff", attend=naive)
    yield Peer(name="diff/naive", kind="diff", attend=naive, compiled=False)


FORMS = {
    "diff2": forms.two_calls,
    "diff4": forms.four_calls,
    "stacked": forms.stacked,
}


def plain(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Causal softmax attention: what the differential one is held against."""
    return sdpa(q, k, v, is_causal=True)


def v2(q: Tensor, k: Tensor, v: Tensor, lam: Tensor) -> Tensor:
    """DIFF V2: one call, then the subtraction with a lambda a token."""
    return forms.v2(q, k, v, lam.sigmoid())


def normed(form: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Add the headwise norm to a form of V1, with the factor of depth 0."""

    def attend(
        q: Tensor, k: Tensor, v: Tensor, lam: Tensor, weight: Tensor
    ) -> Tensor:
        out = form(q, k, v, lam).float()
        return finish(out, q.dtype, weight, 0.8, 1e-5)

    return attend


def padded(q: Tensor, k: Tensor, v: Tensor, lam: Tensor) -> Tensor:
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
    return o1 - lam * o2


def flex(shape: Shape) -> Callable[..., Tensor]:
    """Two FlexAttention calls; the mask is built once, outside the timing."""
    mask = create_block_mask(
        lambda b, h, t, s: s <= t, None, None, shape.T, shape.T, device="cuda"
    )

    def attend(q: Tensor, k: Tensor, v: Tensor, lam: Tensor) -> Tensor:
        o1, o2 = (
            flex_attention(q[:, :, i], k[:, :, i], v, block_mask=mask)
            for i in (0, 1)
        )
        return o1 - lam * o2

    return attend
