"""Launcher of the Hopper kernels, whose warps have roles."""

from functools import lru_cache
from typing import Any

import triton
from torch import Tensor
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.nvidia.hopper import TensorDescriptor

from minidiff.ops.triton.descriptors import steps
from minidiff.ops.triton.hopper.keys import keys_kernel
from minidiff.ops.triton.hopper.queries import queries_kernel
from minidiff.ops.triton.launch.common import Given, lam_of, map_flags
from minidiff.ops.triton.tuning import Shape


def keys(
    given: Given, dk: Tensor, dv: Tensor, shape: Shape, made: dict[str, bool]
) -> None:
    """Write dk and dv; ``made`` says which: KEYS, VALUES or both."""
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
    """Write dq."""
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
    """What both kernels read, block by block, both branches at once."""
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
    """How both kernels cut their work; warps are those of one consumer."""
    return {
        "BT": shape.BT,
        "BS": shape.BS,
        "STAGES": shape.stages,
        "num_warps": shape.warps,
    }


def block_of(x: Tensor, *block: int) -> TensorDescriptor:
    """Make a descriptor of x, which also says how a block is laid out."""
    ones = [1] * (x.ndim - len(block))
    layout = layout_of(8 * x.element_size(), x.ndim)
    return TensorDescriptor(
        x, list(x.shape), steps(x), [*ones, *block], layout
    )


@lru_cache  # asked for each tensor of each launch, and few differ
def layout_of(bits: int, rank: int) -> gl.NVMMASharedLayout:
    """In shared memory: swizzled for products, or plain rows."""
    return gl.NVMMASharedLayout(
        swizzle_byte_width=128 if bits == 16 else 0,
        element_bitwidth=bits,
        rank=rank,
    )
