"""torch.compile for the loss of a model, also beside other compiled models."""

from collections.abc import Callable
from types import FunctionType
from typing import Any

import torch
from torch import Tensor, nn


def compiled(loss: nn.Module, layers: int) -> Callable[..., Tensor]:
    """Compile the loss of a model with so many layers."""
    from torch._dynamo import config  # seconds, so only when asked for

    # FSDP cuts at each block, and no two blocks have the same lam_init: a
    # graph each, and none that takes it as a variable.
    config.recompile_limit = max(config.recompile_limit, layers + 8)
    config.specialize_float = True

    def call(inputs: Tensor, targets: Tensor) -> Tensor:
        return loss(inputs, targets)

    return torch.compile(own_code(call))


def own_code(f: Any) -> Callable[..., Tensor]:
    """Copy f with a code object of its own.

    torch.compile keeps what it made with the code object, only so many for
    each, and gives it to whoever fits: a second model would get the graph of
    the first, with the attention kernel that was allowed then, and functions
    that are compiled often would use them up.
    """
    return FunctionType(
        f.__code__.replace(),
        f.__globals__,
        f.__name__,
        f.__defaults__,
        f.__closure__,
    )
