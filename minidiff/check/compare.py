"""Comparison of outcomes: answers as arrays, and whether two agree."""

import inspect
from typing import Any

import numpy as np


def as_array(x: Any) -> np.ndarray:
    """Return a number, an array or a tensor in float64."""
    if hasattr(x, "detach"):
        x = x.detach().cpu().double().numpy()
    return np.asarray(x, dtype=np.float64)


def arrays_in(x: Any) -> list[np.ndarray]:
    """Return the arrays and tensors in x in order, also in nested lists."""
    if isinstance(x, list | tuple):
        return [a for part in x for a in arrays_in(part)]
    return [as_array(x)] if hasattr(x, "shape") else []


def same(a: Any, b: Any, tolerance: float = 0.0) -> bool:
    """Tell whether two outcomes agree.

    None means no outcome and agrees with nothing. Two exceptions agree if
    they have the same type and, where they have a ``key``, the same key.
    """
    if a is None or b is None:
        return False
    if isinstance(a, Exception) or isinstance(b, Exception):
        keys = [getattr(x, "key", None) for x in (a, b)]
        return type(a) is type(b) and keys[0] == keys[1]
    return len(a) == len(b) and all(
        x.shape == y.shape
        and np.allclose(x, y, rtol=tolerance, atol=tolerance, equal_nan=True)
        for x, y in zip(a, b, strict=True)
    )


def unlike(a: float, b: float) -> tuple[str, str]:
    """Format two numbers with enough digits to tell them apart."""
    short = f"{a:.6g}", f"{b:.6g}"
    return short if short[0] != short[1] else (f"{a:.12g}", f"{b:.12g}")


def source_of(answer: Any) -> str:
    """Return the source text of a function, or of a Triton kernel.

    The source starts with the decorator in both cases.
    ``inspect.getsource`` does not support the object that ``triton.jit``
    returns.
    """
    return inspect.getsource(getattr(answer, "fn", answer))
