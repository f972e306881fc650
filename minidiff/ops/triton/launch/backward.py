"""Launcher of the three kernels of the backward pass."""

from types import ModuleType

import torch
import triton
from torch import Tensor

from minidiff.ops.triton.descriptors import (
    gradient_like,
    readable,
    readable_rows,
    rows,
)
from minidiff.ops.triton.kernels.backward import prepare_kernel
from minidiff.ops.triton.launch import plain as launch_plain
from minidiff.ops.triton.launch.common import (
    Given,
    on,
    padded_width,
    shape_for,
)
from minidiff.ops.triton.tuning import Shape


def backward(
    dy: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    lam: Tensor,
    norm_weight: Tensor | None,
    key_lengths: Tensor | None,
    o: Tensor,
    o2: Tensor,
    lse: Tensor,
    causal: bool,
    scale: float,
    norm_scale: float | None,
    eps: float,
    shapes: dict[str, Shape] | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients of q, k, v, lam (B, H, T) and norm_weight.

    The last is empty where there is no weight. ``shapes`` by kernel: either
    "keys" computes dk and dv in one walk, or "values" does dv in a second.
    """
    shapes = shapes or {
        name: shape
        for name in ("keys", "values", "queries")
        if (shape := shape_for(name, q, k, v)) is not None
    }
    dq, dk, dv = (gradient_like(x) for x in (q, k, v))
    q, k, v, lse = readable(q), readable(k), readable(v), readable_rows(lse)
    do, delta, lam_rows, dweight = prepare(
        dy, o, o2, lam, norm_weight, norm_scale, eps
    )
    x = Given(
        q, k, v, do, lse, delta, lam_rows, key_lengths, causal, scale
    )  # fmt: skip
    with on(q):
        for name in ("keys", "values"):
            if name not in shapes:
                continue
            made = {
                "KEYS": name == "keys",
                "VALUES": name == "values" or "values" not in shapes,
            }
            way_of(shapes[name]).keys(x, dk, dv, shapes[name], made)
        way_of(shapes["queries"]).queries(x, dq, shapes["queries"])
    return dq, dk, dv, -delta[:, :, 1], dweight


def way_of(shape: Shape) -> ModuleType:
    """Choose who launches: what runs everywhere, or for Hopper alone."""
    if not shape.roles:
        return launch_plain
    from minidiff.ops.triton.launch import (
        hopper as launch_hopper,  # Gluon: not in every Triton
    )

    return launch_hopper


def prepare(
    dy: Tensor,
    o: Tensor,
    o2: Tensor,
    lam: Tensor,
    norm_weight: Tensor | None,
    norm_scale: float | None,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return dO, (D1, D2) as (B, H, 2, T), lam for each row, and dw."""
    B, H, T, dv = o.shape
    BT = 32
    blocks = triton.cdiv(T, BT)
    do = torch.empty_like(o2)
    assert o.stride() == o2.stride() == do.stride()  # one set is handed on
    delta = rows(B, H, 2, T, device=o.device)
    lam_rows = rows(B, H, T, device=o.device)
    weighted = norm_weight is not None
    parts = delta.new_empty(B * H * blocks, dv) if weighted else None
    with on(o):
        prepare_kernel[(B * H, blocks)](
            dy,
            o,
            o2,
            do,
            norm_weight,
            lam,
            delta,
            lam_rows,
            parts,
            *dy.stride(),
            *o.stride()[:3],
            *lam.stride(),
            lam_rows.stride(1),
            H,
            T,
            dv,
            1.0 if norm_scale is None else norm_scale,
            eps,
            DV=padded_width(dv),
            BT=BT,
            NORM=norm_scale is not None,
            WEIGHT=weighted,
        )
    # Summed in a fixed order, so that a run repeats bit for bit.
    dweight = delta.new_empty(0) if parts is None else parts.sum(0)
    return do, delta, lam_rows, dweight
