"""Changes of the arguments with which an answer is run again."""

from collections.abc import Callable
from types import FunctionType, MethodType
from typing import Any

import numpy as np

from minidiff.check.differences.pair import close

Results = tuple[np.ndarray, np.ndarray]
# Runs the answer and the solution with other arguments: (got, want), or None
# if one of them has no such result.
Probe = Callable[[dict[str, Any]], tuple[np.ndarray, np.ndarray] | None]


def equal(a: np.ndarray, b: np.ndarray, tolerance: float) -> bool:
    """Tell whether two results agree, in shape too."""
    return a.shape == b.shape and bool(close(a, b, tolerance).all())


def is_real(x: Any) -> bool:
    """Tell whether an argument is made of real numbers, not whole ones."""
    if isinstance(x, float):
        return True
    kind = str(getattr(x, "dtype", ""))
    return "float" in kind and hasattr(x, "shape")


def real_ones(args: dict[str, Any]) -> list[str]:
    """Return the names of the arguments made of real numbers."""
    return [name for name, x in args.items() if is_real(x)]


def changeable(args: dict[str, Any]) -> list[str]:
    """Return the names of what ``changed`` changes everywhere."""
    return [
        name
        for name, x in args.items()
        if is_real(x) or is_whole(x) or _is_function(x)
    ]


def _is_function(x: Any) -> bool:
    return isinstance(x, FunctionType | MethodType)


def is_whole(x: Any) -> bool:
    """Tell whether an argument is a whole number."""
    return isinstance(x, int) and not isinstance(x, bool)


def all_of(name: str, x: Any) -> str:
    """Call an argument by its name; an array's numbers are all meant."""
    if _is_function(x):
        return f"all that {name} returns"
    return f"every number of {name}" if np.ndim(x) else name


def changed(x: Any, axis: int | None = None, i: int = 0) -> Any:
    """Return an argument with other numbers, at one index or everywhere.

    A function becomes one that returns other numbers, and a whole number,
    which may be a size, is doubled.
    """
    if is_whole(x):
        return 2 * x
    if _is_function(x):
        return lambda *args, **kwargs: changed(x(*args, **kwargs))
    if isinstance(x, float):
        return 0.9 * x + 0.037
    noise = np.random.default_rng(0).uniform(0.02, 0.1, x.shape)
    tensor = hasattr(x, "clone")
    other = 0.9 * x + (x.new_tensor(noise) if tensor else noise)
    if axis is None:
        return other
    new = x.clone() if tensor else x.copy()
    at = (slice(None),) * axis + (i,)
    new[at] = other[at]
    return new
