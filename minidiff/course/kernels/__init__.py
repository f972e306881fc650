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

import torch

from minidiff.files.extras import need

need("triton", "minidiff.course.kernels")
if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")

import triton  # noqa: E402
import triton.language as tl  # noqa: E402

if triton.knobs.runtime.interpret and isinstance(
    tl.max, triton.runtime.JITFunction
):
    raise ImportError(
        "triton was imported before minidiff.course.kernels, without its "
        "interpreter: restart Python, and import minidiff.course.kernels first"
    )

from minidiff.ops.triton.interpreter import INTERPRETED  # noqa: E402

DEVICE = "cpu" if INTERPRETED else "cuda"

__all__ = ["DEVICE", "INTERPRETED"]
