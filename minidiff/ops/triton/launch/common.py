"""Helpers of all launchers: device, widths, flags and block shapes."""

from contextlib import AbstractContextManager
from functools import lru_cache
from importlib.util import find_spec
from math import e, log2
from threading import RLock
from typing import NamedTuple

import torch
import triton
from torch import Tensor

from minidiff.ops.arguments import Arguments
from minidiff.ops.triton.interpreter import INTERPRETED
from minidiff.ops.triton.tuning import Shape, choose

# Gluon is experimental; without it, kernels/backward.py is used instead.
ROLES = not INTERPRETED and find_spec("triton.experimental.gluon") is not None
LOG2_E = log2(e)
_interpreting = RLock()


def on(x: Tensor) -> AbstractContextManager[object]:
    """Make x's GPU the current one, because Triton launches on that.

    On a CPU other threads wait, because Triton's interpreter has one program
    index for all threads.
    """
    return torch.cuda.device(x.device) if x.is_cuda else _interpreting


@lru_cache  # called several times in a launch, which must be fast
def padded_width(width: int) -> int:
    """Return the width of a block: the next power of two.

    Kernels read zeros beyond the tensor's own width.
    """
    return triton.next_power_of_2(width)


def capability(device: torch.device) -> int:
    """Return ten times the compute capability, 90 for 9.0.

    A CPU, where kernels are interpreted, counts as a Hopper GPU.
    """
    if device.type != "cuda":
        return 90
    major, minor = torch.cuda.get_device_capability(device)
    return 10 * major + minor


# Asked for several times in a launch. (A compiler must not trace a cache.)
_known_capability = lru_cache(capability)


def shape_for(kernel: str, x: Arguments) -> Shape | None:
    """Look up the block shape of a kernel for these inputs."""
    return choose(
        kernel,
        D=padded_width(x.q.shape[-1]),
        DV=padded_width(x.v.shape[-1]),
        P=x.k.shape[2],
        bits=8 * x.q.element_size(),
        length=x.k.shape[3],
        capability=_known_capability(x.q.device),
        roles=ROLES,
    )


def heads_last(x: Arguments) -> Tensor:
    """Make an empty (B, H, T, Dv), laid out in memory as (B, T, H, Dv)."""
    B, H, _, T, _ = x.q.shape
    return x.q.new_empty(B, T, H, x.v.shape[-1]).transpose(1, 2)


def map_flags(x: Arguments) -> dict[str, int | bool]:
    """Return the compile-time arguments of kernels that compute the maps."""
    return {
        "D": padded_width(x.q.shape[-1]),
        "DV": padded_width(x.v.shape[-1]),
        "P": x.k.shape[2],
        "CAUSAL": x.causal,
        "PADDED": x.key_lengths is not None,
    }


def norm_flags(x: Arguments) -> dict[str, int | bool]:
    """Return the compile-time arguments of kernels that compute the norm."""
    return {
        "DV": padded_width(x.v.shape[-1]),
        "NORM": x.norm_scale is not None,
        "WEIGHT": x.norm_weight is not None,
    }


def norm_numbers(x: Arguments) -> tuple[float, float]:
    """Return norm_scale, or 1.0 (unused) if there is no norm, and eps."""
    return 1.0 if x.norm_scale is None else x.norm_scale, x.eps


def lam_of(x: Arguments) -> Tensor:
    """Return lambda, which the operator has expanded to (B, H, T)."""
    assert isinstance(x.lam, Tensor)
    return x.lam


def scales(x: Arguments) -> tuple[float, float]:
    """Return the scale of the logits times log2(e), and the scale itself."""
    assert x.scale is not None  # diff_attention has filled it in
    return x.scale * LOG2_E, x.scale


class Given(NamedTuple):
    """Inputs of the keys and queries kernels of the backward pass.

    x has the operator's arguments with lam as (B, H, T). do is (B, H, T, Dv),
    the gradient of the output before the norm. lse (base 2) and delta, the
    row sums delta_1 and delta_2, are (B, H, 2, T).
    """

    x: Arguments
    do: Tensor
    lse: Tensor
    delta: Tensor

    def numbers(self) -> tuple[int, int, int, float, float]:
        """Return G, T, S, the scale times log2(e), and the scale.

        G is the number of query heads that share a key/value head.
        """
        x = self.x
        groups = x.q.shape[1] // x.k.shape[1]
        T, S = x.q.shape[3], x.k.shape[3]
        return groups, T, S, *scales(x)
