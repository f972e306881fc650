"""A flag for Triton's interpreter, which runs kernels on the CPU."""

import triton
import triton.language as tl

# Triton reads TRITON_INTERPRET again at each ``@triton.jit``, so the variable
# must not change after this module has been imported.
INTERPRETED = bool(triton.knobs.runtime.interpret)

if INTERPRETED and isinstance(tl.max, triton.runtime.JITFunction):
    raise ImportError(
        "TRITON_INTERPRET was set after Triton had been imported, by another "
        "library perhaps, and then the interpreter does not work: set it in "
        "the environment before Python is started, or remove it"
    )
