"""Launcher of the two kernels of decoding."""

import torch
import triton
from torch import Tensor

from minidiff.ops.triton.kernels.decode import combine_kernel, decode_kernel
from minidiff.ops.triton.launch.common import (
    LOG2_E,
    heads_last,
    on,
    padded_width,
    shape_for,
)
from minidiff.ops.triton.tuning import Shape


def decode(
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
    splits: int | None = None,
    shape: Shape | None = None,
) -> Tensor:
    """Return y (B, H, T, Dv) for a few queries; nothing for a backward pass.

    ``splits`` is how many parts of the keys run side by side; by default as
    many as keep the GPU busy.
    """
    B, H, _, T, D = q.shape
    Hkv, P, S = k.shape[1:4]
    dv = v.shape[-1]
    shape = shape or shape_for("decode", q, k, v)
    assert shape is not None  # the table has a row for all that is let in
    row_blocks = triton.cdiv(H // Hkv * T, shape.BT)
    if splits is None:
        splits = busy(B * Hkv * row_blocks, S, q.device)
    # Whole blocks of keys in each split, and no split without a key.
    split = triton.cdiv(triton.cdiv(S, splits), shape.BS) * shape.BS
    splits = triton.cdiv(S, split)
    y = heads_last(q, dv)
    # One place for each row, branch and split.
    tops, sums = q.new_empty(2, B, H, T, 2, splits, dtype=torch.float32)
    parts = q.new_empty(B, H, T, 2, splits, dv, dtype=torch.float32)
    DV = padded_width(dv)
    with on(q):
        decode_kernel[(B * Hkv, splits, row_blocks)](
            q,
            k,
            v,
            key_lengths,
            parts,
            tops,
            sums,
            *q.stride(),
            *k.stride(),
            *v.stride(),
            Hkv,
            H // Hkv,
            T,
            S,
            D,
            dv,
            scale * LOG2_E,
            split,
            D=padded_width(D),
            DV=DV,
            SHARED=P == 1,
            CAUSAL=causal,
            PADDED=key_lengths is not None,
            PRECISION="ieee",
            **shape.blocks(rows="ROWS"),
        )
        combine_kernel[(B * H * T,)](
            parts,
            tops,
            sums,
            lam,
            norm_weight,
            y,
            *lam.stride(),
            *y.stride()[:3],
            H,
            T,
            splits,
            dv,
            1.0 if norm_scale is None else norm_scale,
            eps,
            DV=DV,
            SPLITS=triton.next_power_of_2(splits),
            NORM=norm_scale is not None,
            WEIGHT=norm_weight is not None,
        )
    return y


def busy(programs: int, S: int, device: torch.device) -> int:
    """How many splits of the keys keep a GPU busy to the end.

    Two programs run side by side on a multiprocessor, and a bit more than one
    round of them costs two. So: one full round; or, where that would leave a
    tenth of it empty, about four. None is shorter than 256 keys, since each
    costs two rows of float32, written and read again; and there are at most
    64, which one program puts together.
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
