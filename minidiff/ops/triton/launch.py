"""From tensors to kernels: outputs made, shapes looked up, grids launched."""

from contextlib import AbstractContextManager, nullcontext
from math import e, log2

import torch
import triton
from torch import Tensor

from minidiff.ops.triton import backward as kernels
from minidiff.ops.triton.decode import combine_kernel, decode_kernel
from minidiff.ops.triton.descriptors import (
    block_of,
    gradient_like,
    readable,
    readable_rows,
    rows,
)
from minidiff.ops.triton.forward import forward_kernel
from minidiff.ops.triton.shapes import Shape, choose

# Whether the kernels run in Triton's interpreter, on the CPU.
INTERPRETED = not isinstance(forward_kernel, triton.runtime.JITFunction)
LOG2_E = log2(e)


def on(x: Tensor) -> AbstractContextManager:
    """Triton launches on the current GPU: make it the one x lies on."""
    return torch.cuda.device(x.device) if x.is_cuda else nullcontext()


def padded_width(width: int) -> int:
    """Blocks are powers of two wide; what lies beyond is read as zeros."""
    return triton.next_power_of_2(width)


def capability(device: torch.device) -> int:
    """Return 90 for compute capability 9.0; a CPU plays a Hopper GPU."""
    if device.type != "cuda":
        return 90
    major, minor = torch.cuda.get_device_capability(device)
    return 10 * major + minor


def shape_for(kernel: str, q: Tensor, k: Tensor, v: Tensor) -> Shape | None:
    """Look up the block shape of a kernel for these inputs."""
    return choose(
        kernel,
        D=padded_width(q.shape[-1]),
        DV=padded_width(v.shape[-1]),
        P=k.shape[2],
        bits=8 * q.element_size(),
        length=k.shape[3],
        capability=capability(q.device),
    )


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
        o2 if keep else q.new_empty(0),
        q.new_empty(0, dtype=torch.float32) if lse is None else lse,
    )


def heads_last(q: Tensor, dv: int) -> Tensor:
    """Make an empty (B, H, T, Dv), in memory (B, T, H, Dv)."""
    B, H, _, T, _ = q.shape
    return q.new_empty(B, T, H, dv).transpose(1, 2)


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
) -> Tensor:
    """Return y (B, H, T, Dv) for a few queries; nothing for a backward pass.

    ``splits`` is how many parts of the keys run side by side; by default as
    many as keep the GPU busy.
    """
    B, H, _, T, D = q.shape
    Hkv, P, S = k.shape[1:4]
    dv = v.shape[-1]
    shape = shape_for("decode", q, k, v)
    row_blocks = triton.cdiv(H // Hkv * T, shape.BT)
    if splits is None:
        splits = busy(B * Hkv * row_blocks, S, q.device)
    # Whole blocks of keys in each split, and no split without a key.
    split = triton.cdiv(triton.cdiv(S, splits), shape.BS) * shape.BS
    splits = triton.cdiv(S, split)
    y = heads_last(q, dv)
    tops, sums = torch.empty(
        2, B, H, T, 2, splits, device=q.device
    )  # one for each row, branch and split
    parts = torch.empty(B, H, T, 2, splits, dv, device=q.device)
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
    """How many splits make four programs for each multiprocessor.

    None is shorter than 256 keys: each costs two rows of float32, written
    and read again.
    """
    processors = 132
    if device.type == "cuda":
        found = torch.cuda.get_device_properties(device)
        processors = found.multi_processor_count
    wanted = triton.cdiv(4 * processors, programs)
    return max(1, min(wanted, S // 256))
