"""torch.compile for a model's loss, also with several models in a program."""

from collections.abc import Callable
from types import FunctionType
from typing import Any

import torch
from torch import Tensor, nn


def compiled(loss: nn.Module, layers: int) -> Callable[..., Tensor]:
    """Compile a module around a model with ``layers`` layers.

    The result takes the same tensors as the module, and returns the same.
    """
    from torch._dynamo import config  # importing it takes seconds

    # FSDP breaks the graph at each block, and each block has its own lam_init.
    # So allow one graph for each block, with lam_init as a constant.
    config.recompile_limit = max(config.recompile_limit, layers + 8)
    config.specialize_float = True

    def call(*rows: Tensor) -> Tensor:
        return loss(*rows)

    return torch.compile(own_code(call))


def own_code(f: Any) -> Callable[..., Tensor]:
    """Return a copy of f with a code object of its own.

    torch.compile caches its graphs by code object, up to a limit for each.
    With a shared code object a second model could get the graph of the first,
    with the attention kernel that was selected for that, and functions that
    are compiled often would reach the limit.
    """
    return FunctionType(
        f.__code__.replace(),
        f.__globals__,
        f.__name__,
        f.__defaults__,
        f.__closure__,
    )
