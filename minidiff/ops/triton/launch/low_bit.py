"""Launcher of the forward pass with queries and keys in 8 bits."""

import triton
from torch import Tensor

from minidiff.ops.arguments import Arguments
from minidiff.ops.low_bit_products import KEY_BLOCK, QUERY_BLOCK
from minidiff.ops.triton.descriptors import block_of, readable
from minidiff.ops.triton.kernels.low_bit import low_bit_kernel
from minidiff.ops.triton.launch.codes import quantise, quantise_keys
from minidiff.ops.triton.launch.common import (
    heads_last,
    lam_of,
    map_flags,
    norm_flags,
    norm_numbers,
    on,
    padded_width,
    scales,
    shape_for,
)
from minidiff.ops.triton.tuning import Shape, for_products

LEAST_WIDTH = 32  # that tensor cores multiply in 8 bits


def forward(
    x: Arguments, precision: str, shape: Shape | None = None
) -> Tensor:
    """Return y (B, H, T, Dv) from products in 8 bits, no backward pass.

    Shapes as in :func:`minidiff.diff_attention`; lam is (B, H, T), and scale
    a positive number.
    """
    B, H, _, T, D = x.q.shape
    Hkv, _, S = x.k.shape[1:4]
    width = max(LEAST_WIDTH, padded_width(D))
    flags = map_flags(x) | norm_flags(x) | {"D": width}
    shape = shape or shape_for("forward", x)
    assert shape is not None  # the table covers all checked inputs
    shape = for_products(shape)
    q, q_scale = quantise(x.q, precision, QUERY_BLOCK)
    k, k_scale = quantise_keys(x.k, precision, x.key_lengths)
    v, lam, y = readable(x.v), lam_of(x), heads_last(x)
    o2 = y if shape.together else heads_last(x)  # y: not written there
    with on(q):
        low_bit_kernel[(B * H, triton.cdiv(T, shape.BT))](
            block_of(q, shape.tma, shape.BT, width),
            block_of(k, shape.tma, shape.BS, width),
            block_of(v, shape.tma, shape.BS, flags["DV"]),
            block_of(y, shape.tma, shape.BT, flags["DV"]),
            q_scale,
            k_scale,
            o2,
            lam,
            x.norm_weight,
            x.key_lengths,
            *o2.stride()[:3],
            *lam.stride(),
            H,
            H // Hkv,
            T,
            S,
            v.shape[-1],
            scales(x)[0],
            *norm_numbers(x),
            **flags,
            QB=QUERY_BLOCK,
            KB=KEY_BLOCK,
            TOGETHER=shape.together,
            TMA=shape.tma,
            **shape.blocks(),
        )
    return y
