"""Training and evaluation mode, restored when a block ends."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import RLock, get_ident

from torch import nn


@dataclass(eq=False)
class _Block:
    """A block that runs now, and the modes to be restored at its end."""

    thread: int
    training: bool
    before: dict[nn.Module, bool]


_running: list[_Block] = []  # in the order in which they began
_changing = RLock()


@contextmanager
def in_mode(model: nn.Module, *, training: bool) -> Iterator[None]:
    """Put a model in training or evaluation mode inside the block.

    Afterwards each of its modules has its own mode again, also if the block
    raised an error or was interrupted. Several threads may evaluate a model
    at the same time; the modes are restored when the last of them ends.

    Raises ValueError as :func:`check_mode` does.
    """
    block = _Block(get_ident(), training, {})
    try:
        with _changing:
            check_mode(model, training=training)
            block.before.update((m, m.training) for m in model.modules())
            _running.append(block)
            model.train(training)
        yield
    finally:
        with _changing:
            _end(block)


def check_mode(model: nn.Module, *, training: bool) -> None:
    """Raise ValueError if another thread trains the model or evaluates it.

    Several threads can evaluate one model, but training needs it alone.
    """
    modules = set(model.modules())
    with _changing:
        for block in _running:
            if block.thread == get_ident() or modules.isdisjoint(block.before):
                continue
            if block.training or training:
                does = "trains" if block.training else "evaluates"
                raise ValueError(
                    f"model: another thread {does} it now, expected a model "
                    "that no other thread "
                    f"{'uses' if training else 'trains'}, or a copy of it"
                )


def _end(block: _Block) -> None:
    """Restore modes, or leave that to a later block that still runs."""
    if block not in _running:
        return
    later = _running[_running.index(block) + 1 :]
    _running.remove(block)
    for module, mode in block.before.items():
        heir = next((b for b in later if module in b.before), None)
        if heir is None:
            module.training = mode
        else:
            heir.before[module] = mode
