"""Detection of changes that an answer makes outside itself.

A check compares an answer with a solution that runs in the same process. An
answer that replaces ``np.isclose``, or sets PyTorch's default dtype, changes
that solution and the checks of other exercises too.
"""

import os
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

_MINE = __name__.partition(".")[0]
_BELOW_MINE = f"{_MINE}."
# Those that a check computes with. Others, like os and time, are changed by
# debuggers and libraries that have nothing to do with an answer.
_MODULES = {
    _MINE,
    "builtins",
    "copy",
    "math",
    "numpy",
    "numpy.fft",
    "numpy.linalg",
    "numpy.random",
    "torch",
    "torch.autograd",
    "torch.linalg",
    "torch.nn",
    "torch.nn.functional",
    "torch.nn.init",
}
_CLASSES = (("torch", "Tensor"), ("torch.nn", "Module"))
# A notebook's kernel replaces these itself, some of them for every cell.
_OF_THE_KERNEL = {"exit", "input", "open", "quit"}
# PyTorch replaces these itself when its compiler is imported.
_OF_PYTORCH = {
    "torch.manual_seed",
    "torch.nn.Module.__init__",
    "torch.nn.Module.__setstate__",
}
_GONE = object()

# {place: (module or class, {name: (value, the code of a Python function)})}
_Names = dict[str, tuple[Any, Any]]
_known: dict[str, tuple[Any, _Names]] = {}


def changed() -> list[str]:
    """Return the names that were replaced since they were first seen.

    Such as ``["numpy.isclose"]``. A module is first seen by the call that
    follows its import: the import of the checks, or a check.
    """
    return [f"{place}.{name}" for place, name, *_ in _changes()]


def restore() -> list[str]:
    """Undo the changes that ``changed`` reports; return their names."""
    found = list(_changes())
    for _, name, owner, (value, code) in found:
        if value is _GONE:
            delattr(owner, name)
            continue
        if code is not None:
            value.__code__ = code
        setattr(owner, name, value)
    return [f"{place}.{name}" for place, name, *_ in found]


def _changes() -> Iterator[tuple[str, str, Any, tuple[Any, Any]]]:
    for place, owner in _places().items():
        if place not in _known or _known[place][0] is not owner:
            _known[place] = owner, dict(_names(place, owner))
        now = vars(owner)
        for name, (value, code) in _known[place][1].items():
            if now.get(name, _GONE) is not value or (
                code is not None
                and getattr(value, "__code__", None) is not code
            ):
                yield place, name, owner, (value, code)


def _names(place: str, owner: Any) -> Iterator[tuple[str, tuple[Any, Any]]]:
    for name, value in vars(owner).items():
        known = f"{place}.{name}" in _OF_PYTORCH
        if _watched(owner, name, value) and not known:
            yield name, (value, getattr(value, "__code__", None))
    for base in getattr(owner, "__mro__", ())[1:]:
        for name in vars(base):  # inherited: to be found there, not here
            if name not in vars(owner):
                yield name, (_GONE, None)


def _places() -> dict[str, Any]:
    """Return the modules and classes to watch, of those that are imported."""
    found: dict[str, Any] = {}
    for name, module in list(sys.modules.items()):
        if not (name in _MODULES or name.startswith(_BELOW_MINE)):
            continue
        if not isinstance(module, ModuleType):
            continue
        spec = module.__spec__
        if not getattr(spec, "_initializing", False):  # still imported
            found[name] = module
    for name, part in _CLASSES:
        if owner := vars(found.get(name, object)).get(part):
            found[f"{name}.{part}"] = owner
    return found


def _watched(owner: Any, name: str, value: Any) -> bool:
    if isinstance(owner, type):
        return callable(value)
    if name in _OF_THE_KERNEL or name.startswith("__"):
        return False
    if owner.__name__.startswith(_MINE):
        return callable(value)
    # Functions, and numbers such as numpy.pi.
    mine = not name.startswith("_")
    return mine and (callable(value) or isinstance(value, float))


def settings() -> dict[str, tuple[Any, Callable[[Any], Any]]]:
    """Return global settings by name: the value, and how to set it again."""
    found: dict[str, tuple[Any, Callable[[Any], Any]]] = {
        "Python's recursion limit": (
            sys.getrecursionlimit(),
            sys.setrecursionlimit,
        ),
        "the working directory": (_folder(), os.chdir),
    }
    if torch := sys.modules.get("torch"):
        found |= {
            "PyTorch's default dtype": (
                torch.get_default_dtype(),
                torch.set_default_dtype,
            ),
            "PyTorch's default device": (
                torch.get_default_device(),
                lambda device: torch.set_default_device(
                    None if device.type == "cpu" else device
                ),
            ),
            "PyTorch's switch for gradients": (
                torch.is_grad_enabled(),
                torch.set_grad_enabled,
            ),
        }
    return found


def _folder() -> str:
    try:
        return os.getcwd()
    except OSError:  # it was removed
        return "/"


def reset(
    before: dict[str, tuple[Any, Callable[[Any], Any]]],
) -> list[str]:
    """Set again what differs from ``before``; return the settings' names."""
    now = settings()
    different = [n for n, (value, _) in before.items() if now[n][0] != value]
    for name in different:
        value, setter = before[name]
        setter(value)
    return different


changed()
