"""Launcher of the decode kernels."""

from typing import Any

import torch
import triton
from torch import Tensor

from minidiff.ops.arguments import Arguments
from minidiff.ops.triton.kernels.decode import combine_kernel, decode_kernel
from minidiff.ops.triton.kernels.decode_row import decode_row_kernel
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
from minidiff.ops.triton.tuning import Shape, for_codes, for_row, streams

# Up to this many queries of the heads that share a key head, each is a row of
# its own that reads the codes again, mostly from the L2 cache.
ROWS = 2


def decode(
    x: Arguments,
    splits: int | None = None,
    shape: Shape | None = None,
    *,
    k_scale: Tensor | None = None,
    v_scale: Tensor | None = None,
) -> Tensor:
    """Return y (B, H, T, Dv) for a few queries, without a backward pass.

    lam is (B, H, T), and scale a number. With scales k_scale (B, Hkv, P, S, 1)
    and v_scale (B, Hkv, S, 1), k and v are codes of 8 bits. ``splits`` is the
    number of parts into which the keys are divided, which run in parallel; by
    default as many as keep the GPU busy.
    """
    q, k, v = x.q, x.k, x.v
    B, H, _, T, D = q.shape
    Hkv, _, S = k.shape[1:4]
    dv = v.shape[-1]
    rows = H // Hkv * T
    if shape is None:
        shape = shape_for("decode", x)
        assert shape is not None  # the table covers all checked inputs
        if k_scale is not None:
            one = for_row(padded_width(D))
            shape = one if rows <= ROWS else for_codes(shape)
    kernel, constants = kernel_for(shape, D, k_scale is not None)
    row_blocks = triton.cdiv(rows, shape.BT)
    if splits is None:
        splits = busy(B * Hkv * row_blocks, S, q.device)
    # Each split has whole blocks of keys, and at least one key.
    split = triton.cdiv(triton.cdiv(S, splits), shape.BS) * shape.BS
    splits = triton.cdiv(S, split)
    lam, y = lam_of(x), heads_last(x)
    strides: tuple[int, ...] = (0,) * 7  # of the scales
    if k_scale is not None and v_scale is not None:
        strides = (*k_scale.stride()[:4], *v_scale.stride()[:3])
    # One partial result for each row, branch and split.
    tops, sums = q.new_empty(2, B, H, T, 2, splits, dtype=torch.float32)
    parts = q.new_empty(B, H, T, 2, splits, dv, dtype=torch.float32)
    with on(q):
        kernel[(B * Hkv, splits, row_blocks)](
            q,
            k,
            v,
            k_scale,
            v_scale,
            x.key_lengths,
            parts,
            tops,
            sums,
            *q.stride(),
            *k.stride(),
            *v.stride(),
            *strides,
            Hkv,
            H // Hkv,
            T,
            S,
            D,
            dv,
            scales(x)[0],
            split,
            **map_flags(x),
            **constants,
        )
        combine_kernel[(B * H * T,)](
            parts,
            tops,
            sums,
            lam,
            x.norm_weight,
            y,
            *lam.stride(),
            *y.stride()[:3],
            H,
            T,
            splits,
            dv,
            *norm_numbers(x),
            **norm_flags(x),
            SPLITS=triton.next_power_of_2(splits),
        )
    return y


def kernel_for(
    shape: Shape, D: int, codes: bool
) -> tuple[Any, dict[str, int | bool]]:
    """Return the kernel of this shape, and its arguments of the shape.

    A block of one row has a kernel of its own, which only reads codes.
    """
    if shape.BT > 1:
        return decode_kernel, shape.blocks() | {"LOW": codes}
    return decode_row_kernel, {
        "BS": shape.BS,
        "N": streams(padded_width(D), shape.warps),
        "STAGES": shape.stages,
        "num_warps": shape.warps,
    }


def busy(programs: int, S: int, device: torch.device) -> int:
    """Return the number of splits of the S keys that keeps a GPU busy.

    ``programs`` is the number of programs without splitting. A multiprocessor
    runs two programs at once, so the GPU runs programs in rounds, and a
    slightly overfull round takes as long as two. The splits therefore fill
    one round; if that would leave a tenth of it empty, about four rounds. A
    split has at least 256 keys, because each split writes and reads back two
    rows of float32. There are at most 64 splits, because one program combines
    them all.
    """
    processors = 132
    if device.type == "cuda":
        found = torch.cuda.get_device_properties(device)
        processors = found.multi_processor_count
    places = 2 * processors
    splits = places // programs
    if splits * programs < 0.9 * places:
        splits = triton.cdiv(4 * places, programs)
    return max(1, min(splits, S // 256, 64))
