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
from minidiff.ops.triton.launch.common import Given
from minidiff.ops.triton.tuning import Shape


def keys(
    x: Given, dk: Tensor, dv: Tensor, shape: Shape, made: dict[str, bool]
) -> None:
    """Write dk and dv; ``made`` says which: KEYS, VALUES or both."""
    B, Hkv, P, S, _ = dk.shape
    options = x.options()
    keys_kernel[(B * Hkv, triton.cdiv(S, 2 * shape.BS))](
        *read(x, shape),
        block_of(dk, P, shape.BS, options["D"]),
        block_of(dv, shape.BS, options["DV"]),
        x.key_lengths,
        Hkv,
        *x.numbers(),
        **options,
        **made,
        **rest(x, shape),
    )


def queries(x: Given, dq: Tensor, shape: Shape) -> None:
    """Write dq."""
    B, H, _, T, _ = dq.shape
    options = x.options()
    queries_kernel[(B * H, triton.cdiv(T, 2 * shape.BT))](
        *read(x, shape),
        block_of(dq, 2, shape.BT, options["D"]),
        x.key_lengths,
        H,
        *x.numbers(),
        **options,
        **rest(x, shape),
    )


def read(x: Given, shape: Shape) -> list[Any]:
    """What both kernels read, block by block, both branches at once."""
    options = x.options()
    return [
        block_of(x.q, 2, shape.BT, options["D"]),
        block_of(x.k, x.k.shape[2], shape.BS, options["D"]),
        block_of(x.v, shape.BS, options["DV"]),
        block_of(x.do, shape.BT, options["DV"]),
        block_of(x.lse, 2, shape.BT),
        block_of(x.delta, 2, shape.BT),
        block_of(x.lam, shape.BT),
    ]


def rest(x: Given, shape: Shape) -> dict[str, Any]:
    """How both kernels are compiled; warps are those of one consumer."""
    return {
        "P": x.k.shape[2],
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
