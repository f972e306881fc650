"""A flag for Triton's interpreter, which runs kernels on the CPU."""

import triton

# Triton reads TRITON_INTERPRET again at each ``@triton.jit``, so the variable
# must not change after this module has been imported.
INTERPRETED = bool(triton.knobs.runtime.interpret)
