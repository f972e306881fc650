"""A flag for Triton's interpreter, which runs kernels on the CPU."""

import numpy as np
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
# Triton 3.7 reads loop bounds as int(np.array([n])), an error since NumPy 2.5.
if INTERPRETED and tuple(map(int, np.__version__.split(".")[:2])) >= (2, 5):
    raise ImportError(
        f"got NumPy {np.__version__} with TRITON_INTERPRET, expected one "
        "below 2.5 for Triton's interpreter: pip install 'numpy<2.5'"
    )
