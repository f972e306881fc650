"""Selection of a backend for ``backend="auto"``."""

import os
from importlib.util import find_spec

import torch
from torch import Tensor

from minidiff.ops.autocast import autocast_dtype
from minidiff.ops.readable import in_func_gradient

# Branch widths D that the fused kernels support.
WIDTHS = (16, 32, 64, 96, 128)
# Interpreter mode is for inspection and is never chosen automatically.
TRITON = (
    find_spec("triton") is not None
    and os.environ.get("TRITON_INTERPRET", "0") == "0"
)
HALF = (torch.float16, torch.bfloat16)


def choose(q: Tensor, v: Tensor) -> str:
    """Return "triton" for inputs the fused kernels are tuned for, or "sdpa".

    They are tuned for 16-bit numbers on an NVIDIA GPU of compute capability
    8.0 or more, and for D in ``WIDTHS`` with Dv of D or 2D. Under autocast
    the dtype is autocast's. Shapes as in :func:`minidiff.diff_attention`.
    """
    if not (TRITON and q.is_cuda and torch.version.cuda):
        return "sdpa"
    dtype = autocast_dtype(q.device) or q.dtype
    D, Dv = q.shape[-1], v.shape[-1]
    ready = (
        dtype in HALF
        and D in WIDTHS
        and Dv in (D, 2 * D)
        and torch.cuda.get_device_capability(q.device) >= (8, 0)
        and not in_func_gradient()  # which the kernels do not support
    )
    return "triton" if ready else "sdpa"
