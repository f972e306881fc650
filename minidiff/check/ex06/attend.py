"""The attention that exercises 6.2 and 6.3 hand to an answer."""

from collections.abc import Callable

import torch
from torch import Tensor

from minidiff.check.core import Case
from minidiff.ops.sdpa import softmax_attention

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]


class AxesError(ValueError):
    """q, k or v has not four axes, as a kernel wants."""


class WidthError(ValueError):
    """q, k and v differ, and the attention takes one shape only."""


class HeadsError(ValueError):
    """q, k and v have different numbers of heads."""


def any_heads(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Causal attention; batch and heads must agree."""
    shapes = _shapes(q, k, v)
    if not q.ndim == k.ndim == v.ndim == 4:
        raise AxesError(f"{shapes}: each has four axes, (B, heads, T, width)")
    if not q.shape[:2] == k.shape[:2] == v.shape[:2]:
        raise HeadsError(f"{shapes}: batch and heads differ")
    return softmax_attention(q, k, v)


def one_width(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Causal attention that refuses what a narrow kernel refuses."""
    if q.ndim == k.ndim == v.ndim == 4 and not q.shape == k.shape == v.shape:
        shapes = _shapes(q, k, v)
        raise WidthError(f"{shapes}: it takes one shape for all three")
    return any_heads(q, k, v)


def _shapes(*given: Tensor) -> str:
    parts = zip("qkv", given, strict=True)
    return "attend got " + ", ".join(f"{n} {tuple(x.shape)}" for n, x in parts)


def draw(*sizes: tuple[int, int, int, int, int]) -> list[Case]:
    """One case for each (B, H, T, D, Dv): q, k, v and lambda."""
    cases = []
    for seed, (B, H, T, D, Dv) in enumerate(sizes):
        g = torch.Generator().manual_seed(seed)
        q, k = torch.randn(2, B, H, 2, T, D, generator=g).double()
        v = torch.randn(B, H, T, Dv, generator=g).double()
        name = f"B = {B}, H = {H}, T = {T}, D = {D}, Dv = {Dv}"
        cases.append(Case(name=name, args=(q, k, v, 0.7)))
    return cases
