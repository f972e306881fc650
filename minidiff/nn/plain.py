"""Modules that were replaced, wrapped or hooked after a model was built."""

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules import module as _module

from minidiff.ops.wide import wide

HOOKS = (
    "_forward_hooks",
    "_forward_pre_hooks",
    "_backward_hooks",
    "_backward_pre_hooks",
)
GLOBAL_HOOKS = tuple(getattr(_module, f"_global{name}") for name in HOOKS)


def is_plain(module: nn.Module, kind: type[nn.Module]) -> bool:
    """Tell whether calling a module does what ``kind.forward`` does, no more.

    Only then may its weight be used without calling it. It is false for an
    adapter, a quantised or parametrised module, and one with hooks.
    """
    return (
        type(module) is kind
        and "forward" not in module.__dict__
        and not any(getattr(module, name) for name in HOOKS)
        and not any(GLOBAL_HOOKS)
    )


def float_dtype(module: nn.Module) -> torch.dtype | None:
    """Return the dtype of a module's first floating-point parameter, if any.

    A dynamically quantised module has none.
    """
    for parameter in module.parameters():
        if parameter.is_floating_point():
            return parameter.dtype
    return None


def call_wide(module: nn.Module, x: Tensor) -> Tensor:
    """Call a module in float32 or wider, also if its weights are 16-bit.

    Hooks and adapters take part as ever. Call it outside autocast.
    """
    own = {
        name: t
        for name, t in (*module.named_parameters(), *module.named_buffers())
        if t.is_floating_point()
    }
    widened = {name: wide(t) for name, t in own.items()}
    x = x.to(next(iter(widened.values()), wide(x)).dtype)
    if all(widened[name] is t for name, t in own.items()):
        return wide(module(x))
    return wide(functional_call(module, widened, (x,)))
