"""Launcher of the two decode kernels."""

import torch
import triton
from torch import Tensor

from minidiff.ops.arguments import Arguments
from minidiff.ops.triton.kernels.decode import combine_kernel, decode_kernel
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
from minidiff.ops.triton.tuning import Shape, for_codes


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
    shape = shape or shape_for("decode", x)
    assert shape is not None  # the table covers all checked inputs
    row_blocks = triton.cdiv(H // Hkv * T, shape.BT)
    if splits is None:
        splits = busy(B * Hkv * row_blocks, S, q.device)
    # Each split has whole blocks of keys, and at least one key.
    split = triton.cdiv(triton.cdiv(S, splits), shape.BS) * shape.BS
    splits = triton.cdiv(S, split)
    lam, y = lam_of(x), heads_last(x)
    strides: tuple[int, ...] = (0,) * 7  # of the scales
    if k_scale is not None and v_scale is not None:
        shape = for_codes(shape)
        strides = (*k_scale.stride()[:4], *v_scale.stride()[:3])
    # One partial result for each row, branch and split.
    tops, sums = q.new_empty(2, B, H, T, 2, splits, dtype=torch.float32)
    parts = q.new_empty(B, H, T, 2, splits, dv, dtype=torch.float32)
    with on(q):
        decode_kernel[(B * Hkv, splits, row_blocks)](
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
            **shape.blocks(),
            LOW=k_scale is not None,
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
