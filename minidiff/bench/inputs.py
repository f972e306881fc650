"""Inputs of the benchmarks: sizes of one layer, and tensors of each kind."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

Inputs = tuple[Tensor, ...]
CACHE_SEED = 1


class Shape(NamedTuple):
    """One setting: B rows of T tokens, H differential heads, branch width D.

    Plain layers of equal size have 2H heads of width D or H heads of width
    2D.
    """

    B: int
    H: int
    T: int
    D: int


class Step(NamedTuple):
    """One decoding step: B rows, each one query against S keys in a cache.

    H and D mean the same as in :class:`Shape`.
    """

    B: int
    H: int
    S: int
    D: int


def check_sizes(name: str, sizes: Sequence[int]) -> None:
    """Raise ValueError, naming the option, for a size below 1."""
    for size in sizes:
        if size < 1:
            raise ValueError(f"--{name}: got {size}, expected 1 or more")


def check_parts(
    name: str, sizes: Sequence[int], whole: str, total: int, times: int = 1
) -> None:
    """Raise ValueError unless ``total`` is a multiple of every size.

    Each size is multiplied by ``times`` first, for example by 2 because a
    differential head has two branches.
    """
    check_sizes(name, sizes)
    for size in sizes:
        if total < 1 or total % (times * size):
            how = "that is" if times == 1 else f"{times} times"
            raise ValueError(
                f"--{whole}: got {total}, expected a multiple of "
                f"{times * size}, {how} --{name}"
            )


def inputs(
    kind: str,
    shape: Shape,
    device: torch.device,
    dtype: torch.dtype,
    seed: int = 0,
) -> Inputs:
    """Draw the inputs of one kind, with the strides of projections' outputs.

    "plain" and "base" take q, k, v. "diff" takes q, k, v, lam and the norm's
    weight, with the shapes of :func:`minidiff.diff_attention`. "v2" takes q,
    k, v and the logits of lam, with the shapes of
    :func:`minidiff.bench.variants.v2` and heads of width 2D. All tensors
    require gradients.
    """
    B, H, T, D = shape
    g = torch.Generator(device).manual_seed(seed)

    def draw(*sizes: int) -> Tensor:
        x = torch.randn(*sizes, generator=g, device=device, dtype=dtype)
        return x.requires_grad_()

    def heads(n: int, width: int) -> Tensor:
        return draw(B, T, n, width).transpose(1, 2)

    def pairs(width: int) -> Tensor:
        return draw(B, T, H, 2, width).permute(0, 2, 3, 1, 4)

    if kind == "plain":
        return tuple(heads(2 * H, D) for _ in range(3))
    if kind == "base":
        return tuple(heads(H, 2 * D) for _ in range(3))
    if kind == "diff":
        lam = torch.tensor(0.8, device=device, requires_grad=True)
        return pairs(D), pairs(D), heads(H, 2 * D), lam, draw(2 * D)
    q = pairs(2 * D)
    return q, heads(H, 2 * D), heads(H, 2 * D), heads(H, 1)


def cached(
    kind: str,
    step: Step,
    device: torch.device,
    dtype: torch.dtype,
    seed: int = 0,
) -> Inputs:
    """Draw one token's inputs of one kind, and the cache that it reads.

    Shapes are as in :func:`inputs` with T = 1, but k and v have S on axis
    -2. They have the memory layout of the modules' caches: the tokens of a
    head are contiguous. No tensor requires gradients.
    """
    B, H, S, D = step
    q, k, v, *rest = (
        x.detach()
        for x in inputs(kind, Shape(B, H, 1, D), device, dtype, seed)
    )
    # Use another seed than for the queries, or the keys would repeat them.
    g = torch.Generator(device).manual_seed(CACHE_SEED + seed)
    k, v = (
        torch.randn(
            (*x.shape[:-2], S, x.shape[-1]),
            generator=g,
            device=device,
            dtype=dtype,
        )
        for x in (k, v)
    )
    return q, k, v, *rest
