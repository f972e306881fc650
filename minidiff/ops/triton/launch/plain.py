"""Launcher of kernels/backward.py's kernels, which run on every GPU."""

from typing import Any

import triton
from torch import Tensor

from minidiff.ops.triton.descriptors import block_of
from minidiff.ops.triton.kernels.backward import keys_kernel, queries_kernel
from minidiff.ops.triton.launch.common import Given
from minidiff.ops.triton.tuning import Shape


def keys(
    x: Given, dk: Tensor, dv: Tensor, shape: Shape, made: dict[str, bool]
) -> None:
    """Write dk and dv; ``made`` says which: KEYS, VALUES or both."""
    B, Hkv, _, S, _ = dk.shape
    options = x.options()
    keys_kernel[(B * Hkv, triton.cdiv(S, shape.BS))](
        *read(x, shape),
        block_of(dk, shape.tma, shape.BS, options["D"]),
        block_of(dv, shape.tma, shape.BS, options["DV"]),
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
    queries_kernel[(B * H, triton.cdiv(T, shape.BT))](
        *read(x, shape),
        block_of(dq, shape.tma, shape.BT, options["D"]),
        x.key_lengths,
        H,
        *x.numbers(),
        **options,
        **rest(x, shape),
    )


def read(x: Given, shape: Shape) -> list[Any]:
    """What both kernels read, block by block."""
    options = x.options()
    return [
        block_of(x.q, shape.tma, shape.BT, options["D"]),
        block_of(x.k, shape.tma, shape.BS, options["D"]),
        block_of(x.v, shape.tma, shape.BS, options["DV"]),
        block_of(x.do, shape.tma, shape.BT, options["DV"]),
        block_of(x.lse, shape.tma, shape.BT),
        block_of(x.delta, shape.tma, shape.BT),
        block_of(x.lam, shape.tma, shape.BT),
    ]


def rest(x: Given, shape: Shape) -> dict[str, Any]:
    """How both kernels are compiled."""
    return {
        "SHARED": x.k.shape[2] == 1,
        "PRECISION": "ieee",
        "TMA": shape.tma,
        **shape.blocks(),
    }
