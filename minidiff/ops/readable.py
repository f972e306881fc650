"""A test for tensors whose values can be read at no cost."""

import torch
from torch import Tensor


def is_readable(x: Tensor) -> bool:
    """Tell whether x's values can be read, and at no cost.

    Reading values makes the program wait for the GPU and breaks a compiled
    graph; inside a function transform (vmap) a tensor has no single value.
    """
    if x.device.type != "cpu" or torch.compiler.is_compiling():
        return False
    return not torch._C._functorch.is_functorch_wrapped_tensor(x)
