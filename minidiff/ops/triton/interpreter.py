"""Whether Triton's interpreter, on the CPU, takes the compiler's place."""

import triton

# Triton reads TRITON_INTERPRET again at each ``@triton.jit``: it must stay
# as it is from here on.
INTERPRETED = bool(triton.knobs.runtime.interpret)
