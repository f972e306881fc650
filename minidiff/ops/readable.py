"""Whether the values of a tensor can be looked at, to check them."""

import torch
from torch import Tensor


def is_readable(x: Tensor) -> bool:
    """Tell whether reading x's values is possible and costs nothing.

    Reading stalls a GPU and cuts a compiled graph, and a tensor inside a
    function transform (vmap) has no single value.
    """
    if x.device.type != "cpu" or torch.compiler.is_compiling():
        return False
    return not torch._C._functorch.is_functorch_wrapped_tensor(x)
