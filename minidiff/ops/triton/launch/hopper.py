"""Launchers of the Hopper kernels, which have specialised warps."""

from functools import lru_cache
from typing import Any

import triton
from torch import Tensor
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.nvidia.hopper import TensorDescriptor

from minidiff.ops.triton.descriptors import described
from minidiff.ops.triton.hopper.keys import keys_kernel
from minidiff.ops.triton.hopper.queries import queries_kernel
from minidiff.ops.triton.launch.common import Given, lam_of, map_flags
from minidiff.ops.triton.tuning import Shape


def keys(
    given: Given, dk: Tensor, dv: Tensor, shape: Shape, made: dict[str, bool]
) -> None:
    """Write dk (B, Hkv, P, S, D) and dv (B, Hkv, S, Dv).

    ``made`` has the flags KEYS and VALUES: which of the two to write.
    """
    B, Hkv, P, S, _ = dk.shape
    flags = map_flags(given.x)
    keys_kernel[(B * Hkv, triton.cdiv(S, 2 * shape.BS))](
        *read(given, shape),
        block_of(dk, P, shape.BS, flags["D"]),
        block_of(dv, shape.BS, flags["DV"]),
        given.x.key_lengths,
        Hkv,
        *given.numbers(),
        **flags,
        **made,
        **blocks(shape),
    )


def queries(given: Given, dq: Tensor, shape: Shape) -> None:
    """Write dq (B, H, 2, T, D)."""
    B, H, _, T, _ = dq.shape
    flags = map_flags(given.x)
    queries_kernel[(B * H, triton.cdiv(T, 2 * shape.BT))](
        *read(given, shape),
        block_of(dq, 2, shape.BT, flags["D"]),
        given.x.key_lengths,
        H,
        *given.numbers(),
        **flags,
        **blocks(shape),
    )


def read(given: Given, shape: Shape) -> list[Any]:
    """Return descriptors of the tensors that both kernels read.

    A block of a tensor with a branch axis has both branches.
    """
    x = given.x
    flags = map_flags(x)
    return [
        block_of(x.q, 2, shape.BT, flags["D"]),
        block_of(x.k, flags["P"], shape.BS, flags["D"]),
        block_of(x.v, shape.BS, flags["DV"]),
        block_of(given.do, shape.BT, flags["DV"]),
        block_of(given.lse, 2, shape.BT),
        block_of(given.delta, 2, shape.BT),
        block_of(lam_of(x), shape.BT),
    ]


def blocks(shape: Shape) -> dict[str, int]:
    """Return the block sizes and options that both kernels take.

    num_warps is the number of warps in one consumer group.
    """
    return {
        "BT": shape.BT,
        "BS": shape.BS,
        "STAGES": shape.stages,
        "num_warps": shape.warps,
    }


def block_of(x: Tensor, *block: int) -> TensorDescriptor:
    """Make a TMA descriptor of x with the layout of a block.

    ``block`` is the size along the last axes; along all others it is 1.
    """
    layout = layout_of(8 * x.element_size(), x.ndim)
    return described(TensorDescriptor, x, block, layout)


@lru_cache  # called for each tensor of each launch, with few distinct values
def layout_of(bits: int, rank: int) -> gl.NVMMASharedLayout:
    """Return the shared-memory layout of a block.

    16-bit blocks are swizzled, as matrix products need; others are plain rows.
    """
    return gl.NVMMASharedLayout(
        swizzle_byte_width=128 if bits == 16 else 0,
        element_bitwidth=bits,
        rank=rank,
    )
