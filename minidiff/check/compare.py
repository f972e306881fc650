"""What an answer gave, as arrays, and whether two outcomes agree."""

import inspect
from typing import Any

import numpy as np


def as_array(x: Any) -> np.ndarray:
    """Return a number, an array or a tensor in float64."""
    if hasattr(x, "detach"):
        x = x.detach().cpu().double().numpy()
    return np.asarray(x, dtype=np.float64)


def arrays_in(x: Any) -> list[np.ndarray]:
    """All arrays and tensors in x, in lists and tuples too, in order."""
    if isinstance(x, list | tuple):
        return [a for part in x for a in arrays_in(part)]
    return [as_array(x)] if hasattr(x, "shape") else []


def same(a: Any, b: Any, tolerance: float = 0.0) -> bool:
    """Whether two outcomes agree; None, no outcome, agrees with none.

    Two errors agree if of one type and, where they have one, with one key.
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
    """Two numbers as text, with as many digits as tell them apart."""
    short = f"{a:.6g}", f"{b:.6g}"
    return short if short[0] != short[1] else (f"{a:.12g}", f"{b:.12g}")


def source_of(answer: Any) -> str:
    """Return the source text of a function, or of a Triton kernel.

    A kernel's begins with its decorator, as a function's does;
    ``inspect.getsource`` does not know the object that ``triton.jit`` makes.
    """
    return inspect.getsource(getattr(answer, "fn", answer))
