"""Forward hooks that act in one thread only."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from threading import get_ident
from typing import Any

from torch import nn


@contextmanager
def hooked(
    modules: Iterable[nn.Module], hook: Callable[[nn.Module, Any, Any], Any]
) -> Iterator[None]:
    """Call ``hook`` after each forward of the modules inside the block.

    It is called as PyTorch calls a forward hook, but only for the calls of
    this thread. Other threads may use the same modules meanwhile.
    """
    thread = get_ident()

    def here(module: nn.Module, inputs: Any, output: Any) -> Any:
        return hook(module, inputs, output) if get_ident() == thread else None

    handles = [module.register_forward_hook(here) for module in modules]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
