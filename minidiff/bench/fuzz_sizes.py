"""Sizes of the terms that cancel in the operator's results.

An error is judged by the size of the terms that were added, not of what is
left of them: if ``A1 v`` and ``lam A2 v`` nearly cancel, both can be right to
the last bit and their difference still be far off, relative to itself. The
same holds in the backward pass, where row sums are subtracted.
"""

import torch
from torch import Tensor

from minidiff.ops.arguments import Arguments
from minidiff.ops.eager import attention_maps, for_each_head
from minidiff.ops.masks import blank_padding


def sizes(x: Arguments, dy: Tensor, tiny: float) -> dict[str, Tensor]:
    """Return the size of the terms of each result, by its name.

    x is in float64 and dy (B, H, T, Dv) is the output's gradient. The result
    has "out", "q", "k", "v", "lam" and "norm_weight", each with the shape of
    that tensor; it is exactly 0 where the result must be. What is smaller
    than ``tiny`` is rounded as if it had that size.

    Rounding errors are as good as independent, so sizes add up as they do,
    as the root of the sum of squares. The formulas are those of the results
    (kernels/backward.py states them); o stands for ``|o1| + |lam o2|``. The
    error of a row sum D is the exception: it is the same for all keys of the
    row, so in dQ it is multiplied with the size of the sum of A K.
    """
    H, Hkv, D = x.q.shape[1], x.k.shape[1], x.q.shape[-1]
    scale = D**-0.5 if x.scale is None else x.scale
    A1, A2, _ = attention_maps(
        x.q,
        x.k,
        0.0,
        causal=x.causal,
        scale=scale,
        key_lengths=x.key_lengths,
    )
    k = for_each_head(blank_padding(x.k, x.key_lengths), H)
    v = for_each_head(blank_padding(x.v, x.key_lengths), H)
    lam = torch.as_tensor(x.lam, dtype=v.dtype, device=v.device)
    lam = lam[..., None] if lam.ndim else lam
    o1, o2 = A1 @ v, A2 @ v
    exact = o1 - lam * o2
    # Weights that are too small are rounded to 0.
    tiny1, tiny2 = (tiny * (A > 0).to(v) for A in (A1, A2))
    o2 = o2.abs() + _product(tiny2, v)
    o = o1.abs() + _product(tiny1, v) + lam.abs() * o2
    found, do = {"out": o}, dy.abs()
    if x.norm_scale is not None:
        n = o.shape[-1]
        r = (exact.square().mean(-1, keepdim=True) + x.eps).rsqrt()
        dr = r**3 * _total(exact * o) / n  # the error of o changes r
        size = r * o + exact.abs() * dr
        weight = 1 if x.norm_weight is None else x.norm_weight.abs()
        found["out"] = abs(x.norm_scale) * weight * size
        terms = abs(x.norm_scale) * do * size
        found["norm_weight"] = terms.square().sum((0, 1, 2)).sqrt()
        g = abs(x.norm_scale) * weight * do
        do = (r + dr) * g + r**3 * o * _total(g * o) / n
    do = do + tiny * (do > 0)
    dP = _product(do, v.mT)
    D1, D2 = _total(do * o), _total(do * o2)
    dS1 = (A1 + tiny1) * (dP + D1)
    dS2 = lam.abs() * (A2 + tiny2) * (dP + D2)
    dS = torch.stack([y + tiny * (y > 0) for y in (dS1, dS2)], 2)
    dS = abs(scale) * dS  # (B, H, 2, T, S)
    shared_error = torch.stack(
        [
            D1 * (A1 @ k[:, :, 0]).abs(),
            lam.abs() * D2 * (A2 @ k[:, :, -1]).abs(),
        ],
        2,
    )
    found["q"] = torch.hypot(_product(dS, k), abs(scale) * shared_error)
    dk = _grouped(_product(dS.mT, x.q), Hkv)
    shared = x.k.shape[2] == 1
    found["k"] = dk.square().sum(2, keepdim=True).sqrt() if shared else dk
    A = A1 + lam.abs() * A2 + tiny1
    found["v"] = _grouped(_product(A.mT, do), Hkv)
    if isinstance(x.lam, Tensor):
        # o2 is itself a sum, of A2 v, whose weights are rounded.
        D2 = _total(do * torch.hypot(o2, _product(A2, v)))
        D2 = D2[..., 0].square().sum_to_size(x.lam.shape)
        found["lam"] = D2.sqrt()
    return found


def largest_logit(x: Arguments) -> float:
    """Return the largest absolute logit over all pairs of query and key."""
    k = for_each_head(blank_padding(x.k, x.key_lengths), x.q.shape[1])
    scale = x.q.shape[-1] ** -0.5 if x.scale is None else x.scale
    return float((x.q @ k.mT * scale).abs().max())


def _product(x: Tensor, y: Tensor) -> Tensor:
    """Return the size of the entries of x @ y."""
    return (x.square() @ y.square()).sqrt()


def _total(x: Tensor) -> Tensor:
    """Return the size of the sums over the last axis, (..., 1)."""
    return x.square().sum(-1, keepdim=True).sqrt()


def _grouped(x: Tensor, Hkv: int) -> Tensor:
    """Sum over the query heads that share a head of keys and values."""
    return x.unflatten(1, (Hkv, -1)).square().sum(2).sqrt()
