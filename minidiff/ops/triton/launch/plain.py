"""Launchers of the kernels in kernels/backward.py, for every GPU."""

from typing import Any

import triton
from torch import Tensor

from minidiff.ops.triton.descriptors import block_of
from minidiff.ops.triton.kernels.backward import keys_kernel, queries_kernel
from minidiff.ops.triton.launch.common import Given, lam_of, map_flags
from minidiff.ops.triton.tuning import Shape


def keys(
    given: Given, dk: Tensor, dv: Tensor, shape: Shape, made: dict[str, bool]
) -> None:
    """Write dk (B, Hkv, P, S, D) and dv (B, Hkv, S, Dv).

    ``made`` has the flags KEYS and VALUES: which of the two to write.
    """
    B, Hkv, _, S, _ = dk.shape
    flags = map_flags(given.x)
    keys_kernel[(B * Hkv, triton.cdiv(S, shape.BS))](
        *read(given, shape),
        block_of(dk, shape.tma, shape.BS, flags["D"]),
        block_of(dv, shape.tma, shape.BS, flags["DV"]),
        given.x.key_lengths,
        Hkv,
        *given.numbers(),
        **flags,
        **made,
        TMA=shape.tma,
        **shape.blocks(),
    )


def queries(given: Given, dq: Tensor, shape: Shape) -> None:
    """Write dq (B, H, 2, T, D)."""
    B, H, _, T, _ = dq.shape
    flags = map_flags(given.x)
    queries_kernel[(B * H, triton.cdiv(T, shape.BT))](
        *read(given, shape),
        block_of(dq, shape.tma, shape.BT, flags["D"]),
        given.x.key_lengths,
        H,
        *given.numbers(),
        **flags,
        TMA=shape.tma,
        **shape.blocks(),
    )


def read(given: Given, shape: Shape) -> list[Any]:
    """Return the block arguments of the tensors that both kernels read."""
    x = given.x
    flags = map_flags(x)
    return [
        block_of(x.q, shape.tma, shape.BT, flags["D"]),
        block_of(x.k, shape.tma, shape.BS, flags["D"]),
        block_of(x.v, shape.tma, shape.BS, flags["DV"]),
        block_of(given.do, shape.tma, shape.BT, flags["DV"]),
        block_of(given.lse, shape.tma, shape.BT),
        block_of(given.delta, shape.tma, shape.BT),
        block_of(lam_of(x), shape.tma, shape.BT),
    ]
