"""Launcher of the forward kernel."""

import torch
import triton
from torch import Tensor

from minidiff.ops.triton.descriptors import block_of, readable, rows
from minidiff.ops.triton.kernels.forward import forward_kernel
from minidiff.ops.triton.launch.common import (
    LOG2_E,
    heads_last,
    on,
    padded_width,
    shape_for,
)
from minidiff.ops.triton.tuning import Shape


def forward(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    lam: Tensor,
    norm_weight: Tensor | None,
    key_lengths: Tensor | None,
    causal: bool,
    scale: float,
    norm_scale: float | None,
    eps: float,
    keep: bool,
    shape: Shape | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return y, and if kept o, o2 and log-sums: what backward needs.

    Shapes as in :func:`minidiff.diff_attention`, lam (B, H, T). o and o2 are
    (B, H, T, Dv), the log-sums (B, H, 2, T), base 2; what is not kept is
    empty, and so is o where there is no norm, for it is y.
    """
    B, H, _, T, D = q.shape
    Hkv, P, S = k.shape[1:4]
    dv = v.shape[-1]
    shape = shape or shape_for("forward", q, k, v)
    assert shape is not None  # the table has a row for all that is let in
    q, k, v = readable(q), readable(k), readable(v)
    y = heads_last(q, dv)
    o = heads_last(q, dv) if keep and norm_scale is not None else None
    o2 = heads_last(q, dv) if keep or not shape.together else None
    lse = rows(B, H, 2, T, device=q.device) if keep else None
    width, DV = padded_width(D), padded_width(dv)
    grid = (B * H, triton.cdiv(T, shape.BT))
    with on(q):
        forward_kernel[grid](
            block_of(q, shape.tma, shape.BT, width),
            block_of(k, shape.tma, shape.BS, width),
            block_of(v, shape.tma, shape.BS, DV),
            block_of(y, shape.tma, shape.BT, DV),
            block_of(y if o is None else o, shape.tma, shape.BT, DV),
            y if o2 is None else o2,
            lse,
            lam,
            norm_weight,
            key_lengths,
            *y.stride()[:3],
            *lam.stride(),
            0 if lse is None else lse.stride(2),
            H,
            H // Hkv,
            T,
            S,
            dv,
            scale * LOG2_E,
            1.0 if norm_scale is None else norm_scale,
            eps,
            D=width,
            DV=DV,
            TOGETHER=shape.together,
            SHARED=P == 1,
            CAUSAL=causal,
            PADDED=key_lengths is not None,
            NORM=norm_scale is not None,
            WEIGHT=norm_weight is not None,
            KEEP=keep,
            PRECISION="ieee",
            TMA=shape.tma,
            **shape.blocks(),
        )
    # Not None: an operator returns tensors, and no tensor twice.
    return (
        y,
        q.new_empty(0) if o is None else o,
        o2 if keep and o2 is not None else q.new_empty(0),
        q.new_empty(0, dtype=torch.float32) if lse is None else lse,
    )
