"""Device, widths and block shapes, as all launchers need them."""

from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from importlib.util import find_spec
from math import e, log2
from typing import NamedTuple

import torch
import triton
from torch import Tensor

from minidiff.ops.triton.kernels.forward import forward_kernel
from minidiff.ops.triton.tuning import Shape, choose

# Whether the kernels run in Triton's interpreter, on the CPU.
INTERPRETED = not isinstance(forward_kernel, triton.runtime.JITFunction)
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
        roles=ROLES,
    )


def heads_last(q: Tensor, dv: int) -> Tensor:
    """Make an empty (B, H, T, Dv), in memory (B, T, H, Dv)."""
    B, H, _, T, _ = q.shape
    return q.new_empty(B, T, H, dv).transpose(1, 2)


class Given(NamedTuple):
    """What the keys and queries kernels of the backward pass read.

    Shapes as in :func:`minidiff.diff_attention`; do (B, H, T, Dv), lse and
    delta (B, H, 2, T), lam (B, H, T).
    """

    q: Tensor
    k: Tensor
    v: Tensor
    do: Tensor
    lse: Tensor
    delta: Tensor
    lam: Tensor
    key_lengths: Tensor | None
    causal: bool
    scale: float

    def numbers(self) -> tuple[int, int, int, float, float]:
        """Return G, T, S, the scale in base 2, and the scale."""
        groups = self.q.shape[1] // self.k.shape[1]
        T, S = self.q.shape[3], self.k.shape[3]
        return groups, T, S, self.scale * LOG2_E, self.scale

    def options(self) -> dict[str, int | bool]:
        """Return what these kernels are compiled for."""
        return {
            "D": padded_width(self.q.shape[-1]),
            "DV": padded_width(self.v.shape[-1]),
            "CAUSAL": self.causal,
            "PADDED": self.key_lengths is not None,
        }
