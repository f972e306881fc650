"""The simple kernels of Part III, whole, as its chapters build them.

Import this before Triton, and before a kernel is defined. Where there is no
CUDA device it sets ``TRITON_INTERPRET=1``, unless the variable is set
already: then every ``@triton.jit`` kernel runs in Triton's interpreter, on
the CPU, one program after another. Triton reads the variable when it is
imported and again at each ``@triton.jit``.

``INTERPRETED`` says whether kernels run in the interpreter, ``DEVICE`` where
their tensors must lie: "cpu" if so, else "cuda".

Raises ImportError where Triton is not installed (it exists for Linux only),
and where it was imported too early.
"""

import os
from importlib.util import find_spec

import torch

if find_spec("triton") is None:
    raise ImportError(
        "minidiff.course.kernels needs Triton, which is not installed here. "
        "It exists for Linux only; on macOS and Windows use a Linux "
        "container, WSL 2 or a hosted notebook. No other part of the course "
        "needs it."
    )
if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")

import triton
import triton.language as tl

from minidiff.ops.triton.interpreter import INTERPRETED

DEVICE = "cpu" if INTERPRETED else "cuda"

if INTERPRETED and isinstance(tl.max, triton.runtime.JITFunction):
    raise ImportError(
        "triton was imported before minidiff.course.kernels, without its "
        "interpreter: restart Python, and import minidiff.course.kernels first"
    )

__all__ = ["DEVICE", "INTERPRETED"]
