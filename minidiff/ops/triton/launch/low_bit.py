"""Launchers of the forward pass with queries and keys in 8 bits."""

import torch
import triton
from torch import Tensor

from minidiff.ops.arguments import Arguments
from minidiff.ops.low_bit import CODES, LARGEST
from minidiff.ops.low_bit_products import (
    KEY_BLOCK,
    QUERY_BLOCK,
    centred_keys,
    mean_key,
    quantise_blocks,
)
from minidiff.ops.triton.descriptors import block_of, readable
from minidiff.ops.triton.interpreter import INTERPRETED
from minidiff.ops.triton.kernels.low_bit import low_bit_kernel, quantise_kernel
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
WARPS = 8  # of quantise_kernel


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
    v, lam, y, o2 = readable(x.v), lam_of(x), heads_last(x), heads_last(x)
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
            TMA=shape.tma,
            **shape.blocks(),
        )
    return y


def quantise_keys(
    k: Tensor, precision: str, key_lengths: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return the codes and scales of keys minus their mean."""
    if _rounds_wrongly(precision):
        centred = centred_keys(k, key_lengths)
        return quantise_blocks(centred, precision, KEY_BLOCK)
    mean = mean_key(k, key_lengths).contiguous()
    return quantise(k, precision, KEY_BLOCK, mean, key_lengths)


def quantise(
    x: Tensor,
    precision: str,
    rows: int,
    mean: Tensor | None = None,
    key_lengths: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return codes (B, H, P, T, D) and scales (B, H, P, blocks) of x.

    Both are contiguous. ``rows`` rows share a scale. ``mean`` (B, H, P, 1, D),
    if given, is subtracted first, and rows from ``key_lengths`` on become
    zeros.
    """
    if _rounds_wrongly(precision):
        return quantise_blocks(x, precision, rows)
    B, H, P, T, D = x.shape
    width, blocks = padded_width(D), triton.cdiv(T, rows)
    codes = x.new_empty(x.shape, dtype=CODES[precision])
    scale = x.new_empty(B, H, P, blocks, dtype=torch.float32)
    with on(x):
        quantise_kernel[(B * H * P, blocks)](
            block_of(x, False, rows, width),
            block_of(codes, False, rows, width),
            scale,
            mean,
            key_lengths,
            H,
            P,
            T,
            D,
            LARGEST=LARGEST[precision],
            D=width,
            N=rows,
            KEYS=mean is not None,
            PADDED=key_lengths is not None,
            WHOLE=precision == "int8",
            num_warps=WARPS,
        )
    return codes, scale


def _rounds_wrongly(precision: str) -> bool:
    """Tell whether kernels cannot make the codes, as in the interpreter.

    Its conversion to fp8 loses the carry of a rounding: 127.9 becomes 64.
    """
    return INTERPRETED and precision == "fp8"
