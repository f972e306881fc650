"""Launchers of the kernels that make the codes of queries and keys."""

import torch
import triton
from torch import Tensor

from minidiff.ops.low_bit import CODES, LARGEST
from minidiff.ops.low_bit_products import (
    KEY_BLOCK,
    centred_keys,
    quantise_blocks,
)
from minidiff.ops.triton.descriptors import block_of
from minidiff.ops.triton.interpreter import INTERPRETED
from minidiff.ops.triton.kernels.codes import quantise_kernel, sum_kernel
from minidiff.ops.triton.launch.common import on, padded_width

PARTS = 16  # of the keys of one branch; each is summed by one program
ROWS = 128  # that sum_kernel reads at a time
WARPS = 4  # of sum_kernel
ENTRIES = 2048  # that one warp of quantise_kernel rounds


def quantise_keys(
    k: Tensor, precision: str, key_lengths: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return the codes and scales of keys minus their mean."""
    if _rounds_wrongly(precision):
        centred = centred_keys(k, key_lengths)
        return quantise_blocks(centred, precision, KEY_BLOCK)
    sums = sums_of_parts(k, key_lengths)
    return quantise(k, precision, KEY_BLOCK, sums, key_lengths)


def sums_of_parts(k: Tensor, key_lengths: Tensor | None) -> Tensor:
    """Return sums (B, Hkv, P, PARTS, D) over parts of the keys.

    Padding does not count.
    """
    B, H, P, S, D = k.shape
    width = padded_width(D)
    sums = k.new_empty(B, H, P, PARTS, D, dtype=torch.float32)
    with on(k):
        sum_kernel[(B * H * P, PARTS)](
            block_of(k, False, ROWS, width),
            sums,
            key_lengths,
            H,
            S,
            D,
            ROWS * triton.cdiv(S, ROWS * PARTS),
            D=width,
            P=P,
            N=ROWS,
            PADDED=key_lengths is not None,
            num_warps=WARPS,
        )
    return sums


def quantise(
    x: Tensor,
    precision: str,
    rows: int,
    sums: Tensor | None = None,
    key_lengths: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return codes (B, H, P, T, D) and scales (B, H, P, blocks) of x.

    Both are contiguous. ``rows`` rows share a scale. If ``sums`` of
    `sums_of_parts` are given, the mean is subtracted first, and rows from
    ``key_lengths`` on become zeros.
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
            sums,
            key_lengths,
            H,
            T,
            D,
            LARGEST=LARGEST[precision],
            D=width,
            P=P,
            N=rows,
            PARTS=0 if sums is None else PARTS,
            PADDED=key_lengths is not None,
            WHOLE=precision == "int8",
            num_warps=max(1, rows * width // ENTRIES),
        )
    return codes, scale


def _rounds_wrongly(precision: str) -> bool:
    """Tell whether kernels cannot make the codes, as in the interpreter.

    Its conversion to fp8 loses the carry of a rounding: 127.9 becomes 64.
    """
    return INTERPRETED and precision == "fp8"
