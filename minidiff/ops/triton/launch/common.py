"""Device, widths, flags and block shapes, as all launchers need them."""

from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from importlib.util import find_spec
from math import e, log2
from typing import NamedTuple

import torch
import triton
from torch import Tensor

from minidiff.ops.arguments import Arguments
from minidiff.ops.triton.interpreter import INTERPRETED
from minidiff.ops.triton.tuning import Shape, choose

# Gluon is experimental: a Triton without it takes kernels/backward.py.
ROLES = not INTERPRETED and find_spec("triton.experimental.gluon") is not None
LOG2_E = log2(e)


def on(x: Tensor) -> AbstractContextManager[None]:
    """Triton launches on the current GPU: make it the one x lies on."""
    return torch.cuda.device(x.device) if x.is_cuda else nullcontext()


@lru_cache  # asked several times a launch, and a launch is short
def padded_width(width: int) -> int:
    """Blocks are powers of two wide; what lies beyond is read as zeros."""
    return triton.next_power_of_2(width)


def capability(device: torch.device) -> int:
    """Return 90 for compute capability 9.0; a CPU plays a Hopper GPU."""
    if device.type != "cuda":
        return 90
    major, minor = torch.cuda.get_device_capability(device)
    return 10 * major + minor


def shape_for(kernel: str, x: Arguments) -> Shape | None:
    """Look up the block shape of a kernel for these inputs."""
    return choose(
        kernel,
        D=padded_width(x.q.shape[-1]),
        DV=padded_width(x.v.shape[-1]),
        P=x.k.shape[2],
        bits=8 * x.q.element_size(),
        length=x.k.shape[3],
        capability=capability(x.q.device),
        roles=ROLES,
    )


def heads_last(x: Arguments) -> Tensor:
    """Make an empty (B, H, T, Dv), in memory (B, T, H, Dv)."""
    B, H, _, T, _ = x.q.shape
    return x.q.new_empty(B, T, H, x.v.shape[-1]).transpose(1, 2)


def map_flags(x: Arguments) -> dict[str, int | bool]:
    """Return what kernels that compute the maps are compiled for."""
    return {
        "D": padded_width(x.q.shape[-1]),
        "DV": padded_width(x.v.shape[-1]),
        "P": x.k.shape[2],
        "CAUSAL": x.causal,
        "PADDED": x.key_lengths is not None,
    }


def norm_flags(x: Arguments) -> dict[str, int | bool]:
    """Return what kernels that compute the norm are compiled for."""
    return {
        "DV": padded_width(x.v.shape[-1]),
        "NORM": x.norm_scale is not None,
        "WEIGHT": x.norm_weight is not None,
    }


def norm_numbers(x: Arguments) -> tuple[float, float]:
    """Return norm_scale, or any number where there is no norm, and eps."""
    return 1.0 if x.norm_scale is None else x.norm_scale, x.eps


def lam_of(x: Arguments) -> Tensor:
    """Return lambda as the operator hands it on, (B, H, T)."""
    assert isinstance(x.lam, Tensor)
    return x.lam


def scales(x: Arguments) -> tuple[float, float]:
    """Return the scale of the logits in base 2, and as it is."""
    assert x.scale is not None  # diff_attention has filled it in
    return x.scale * LOG2_E, x.scale


class Given(NamedTuple):
    """What the keys and queries kernels of the backward pass read.

    x has lam for each row, (B, H, T); do is (B, H, T, Dv), lse and delta are
    (B, H, 2, T).
    """

    x: Arguments
    do: Tensor
    lse: Tensor
    delta: Tensor

    def numbers(self) -> tuple[int, int, int, float, float]:
        """Return G, T, S, the scale in base 2, and the scale."""
        x = self.x
        groups = x.q.shape[1] // x.k.shape[1]
        T, S = x.q.shape[3], x.k.shape[3]
        return groups, T, S, *scales(x)
