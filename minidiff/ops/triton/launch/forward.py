"""Launcher of the forward kernel."""

import torch
import triton
from torch import Tensor

from minidiff.ops.arguments import Arguments
from minidiff.ops.triton.descriptors import block_of, readable, rows
from minidiff.ops.triton.kernels.forward import forward_kernel
from minidiff.ops.triton.launch.common import (
    heads_last,
    lam_of,
    map_flags,
    norm_flags,
    norm_numbers,
    on,
    scales,
    shape_for,
)
from minidiff.ops.triton.tuning import Shape


def forward(
    x: Arguments, keep: bool, shape: Shape | None = None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return y and, if ``keep``, o, o2 and lse for the backward pass.

    Shapes as in :func:`minidiff.diff_attention`; lam is (B, H, T), and scale
    a number. y, o (the result before the norm) and o2 (that of the second
    branch) are (B, H, T, Dv); lse, the base-2 log-sums of the softmax, is
    (B, H, 2, T). Without ``keep`` the last three are empty. Without a norm o
    is empty too, because it would equal y.
    """
    flags = map_flags(x) | norm_flags(x)
    B, H, _, T, _ = x.q.shape
    Hkv, _, S = x.k.shape[1:4]
    shape = shape or shape_for("forward", x)
    assert shape is not None  # the table covers all checked inputs
    q, k, v = readable(x.q), readable(x.k), readable(x.v)
    lam, y = lam_of(x), heads_last(x)
    o = heads_last(x) if keep and flags["NORM"] else None
    o2 = heads_last(x) if keep or not shape.together else None
    lse = rows(B, H, 2, T, device=q.device) if keep else None
    width, DV = flags["D"], flags["DV"]
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
            x.norm_weight,
            x.key_lengths,
            *y.stride()[:3],
            *lam.stride(),
            0 if lse is None else lse.stride(2),
            H,
            H // Hkv,
            T,
            S,
            v.shape[-1],
            scales(x)[0],
            *norm_numbers(x),
            **flags,
            TOGETHER=shape.together,
            KEEP=keep,
            TMA=shape.tma,
            **shape.blocks(),
        )
    # Empty tensors instead of None: an operator must return tensors, and must
    # not return the same one twice.
    return (
        y,
        q.new_empty(0) if o is None else o,
        o2 if keep and o2 is not None else q.new_empty(0),
        q.new_empty(0, dtype=torch.float32) if lse is None else lse,
    )
