"""From tensors to the three kernels of the backward pass."""

import torch
import triton
from torch import Tensor

from minidiff.ops.triton import backward as kernels
from minidiff.ops.triton.descriptors import (
    block_of,
    gradient_like,
    readable,
    readable_rows,
    rows,
)
from minidiff.ops.triton.launch import LOG2_E, on, padded_width, shape_for
from minidiff.ops.triton.shapes import Shape


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
    B, H, _, T, D = q.shape
    Hkv, P, S = k.shape[1:4]
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
    width, DV = padded_width(D), padded_width(v.shape[-1])
    sizes = (H // Hkv, T, S, scale * LOG2_E, scale)
    options = {
        "D": width,
        "DV": DV,
        "SHARED": P == 1,
        "CAUSAL": causal,
        "PADDED": key_lengths is not None,
        "PRECISION": "ieee",
    }

    def tiles(shape: Shape) -> list:
        return [
            block_of(q, shape.tma, shape.BT, width),
            block_of(k, shape.tma, shape.BS, width),
            block_of(v, shape.tma, shape.BS, DV),
            block_of(do, shape.tma, shape.BT, DV),
            block_of(lse, shape.tma, shape.BT),
            block_of(delta, shape.tma, shape.BT),
            block_of(lam_rows, shape.tma, shape.BT),
        ]

    with on(q):
        for name in ("keys", "values"):
            if name not in shapes:
                continue
            shape = shapes[name]
            kernels.keys_kernel[(B * Hkv, triton.cdiv(S, shape.BS))](
                *tiles(shape),
                block_of(dk, shape.tma, shape.BS, width),
                block_of(dv, shape.tma, shape.BS, DV),
                key_lengths,
                Hkv,
                *sizes,
                KEYS=name == "keys",
                VALUES=name == "values" or "values" not in shapes,
                TMA=shape.tma,
                **options,
                **shape.blocks(),
            )
        shape = shapes["queries"]
        kernels.queries_kernel[(B * H, triton.cdiv(T, shape.BT))](
            *tiles(shape),
            block_of(dq, shape.tma, shape.BT, width),
            key_lengths,
            H,
            *sizes,
            TMA=shape.tma,
            **options,
            **shape.blocks(),
        )
    return dq, dk, dv, -delta[:, :, 1], dweight


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
        kernels.prepare_kernel[(B * H, blocks)](
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
