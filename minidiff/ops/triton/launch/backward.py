"""Launcher of the three kernels of the backward pass."""

from types import ModuleType

import torch
import triton
from torch import Tensor

from minidiff.ops.arguments import Arguments
from minidiff.ops.triton.descriptors import (
    gradient_like,
    readable,
    readable_rows,
    rows,
)
from minidiff.ops.triton.kernels.backward import prepare_kernel
from minidiff.ops.triton.launch import plain as launch_plain
from minidiff.ops.triton.launch.common import (
    Given,
    lam_of,
    norm_flags,
    norm_numbers,
    on,
    shape_for,
)
from minidiff.ops.triton.tuning import Shape


def backward(
    dy: Tensor,
    x: Arguments,
    o: Tensor,
    o2: Tensor,
    lse: Tensor,
    shapes: dict[str, Shape] | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients of q, k, v, lam (B, H, T) and norm_weight.

    dy is (B, H, T, Dv). The gradient of norm_weight is empty if there is no
    weight. x, o, o2 and lse are those of
    :func:`minidiff.ops.triton.launch.forward.forward`, except that without a
    norm o is y. ``shapes`` has the shape of each kernel by name. If it has
    "values", a second pass over the tiles computes dv; otherwise "keys"
    computes both dk and dv.
    """
    shapes = shapes or {
        name: shape
        for name in ("keys", "values", "queries")
        if (shape := shape_for(name, x)) is not None
    }
    dq, dk, dv = gradient_like(x.q), gradient_like(x.k), gradient_like(x.v)
    do, delta, lam_rows, dweight = prepare(dy, x, o, o2)
    x = x._replace(
        q=readable(x.q), k=readable(x.k), v=readable(x.v), lam=lam_rows
    )
    given = Given(x, do, readable_rows(lse), delta)
    with on(x.q):
        for name in ("keys", "values"):
            if name not in shapes:
                continue
            made = {
                "KEYS": name == "keys",
                "VALUES": name == "values" or "values" not in shapes,
            }
            way_of(shapes[name]).keys(given, dk, dv, shapes[name], made)
        way_of(shapes["queries"]).queries(given, dq, shapes["queries"])
    return dq, dk, dv, -delta[:, :, 1], dweight


def way_of(shape: Shape) -> ModuleType:
    """Return the module whose launchers run this shape: plain or hopper."""
    if not shape.roles:
        return launch_plain
    from minidiff.ops.triton.launch import (
        hopper as launch_hopper,  # needs Gluon
    )

    return launch_hopper


def prepare(
    dy: Tensor, x: Arguments, o: Tensor, o2: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Run the first kernel: return do, delta, lam_rows and dweight.

    do is (B, H, T, Dv), the gradient of o, the output before the norm; delta
    is (B, H, 2, T), the row sums delta_1 and delta_2; lam_rows is lam as
    (B, H, T), readable by TMA; dweight is (Dv,), the gradient of norm_weight,
    or empty if there is none.
    """
    B, H, T, dv = o.shape
    BT = 32
    blocks = triton.cdiv(T, BT)
    do = torch.empty_like(o2)
    assert o.stride() == o2.stride() == do.stride()  # one set of strides
    delta = rows(B, H, 2, T, device=o.device)
    given_lam, lam_rows = lam_of(x), rows(B, H, T, device=o.device)
    flags = norm_flags(x)
    parts = delta.new_empty(B * H * blocks, dv) if flags["WEIGHT"] else None
    with on(o):
        prepare_kernel[(B * H, blocks)](
            dy,
            o,
            o2,
            do,
            x.norm_weight,
            given_lam,
            delta,
            lam_rows,
            parts,
            *dy.stride(),
            *o.stride()[:3],
            *given_lam.stride(),
            lam_rows.stride(1),
            H,
            T,
            dv,
            *norm_numbers(x),
            **flags,
            BT=BT,
        )
    # Summed in a fixed order, so that the result is bitwise reproducible.
    dweight = delta.new_empty(0) if parts is None else parts.sum(0)
    return do, delta, lam_rows, dweight
