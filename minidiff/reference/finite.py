"""Gradients by finite differences, to check other gradients against."""

from collections.abc import Callable

import numpy as np


def numerical_gradient(
    f: Callable[[np.ndarray], float], x: np.ndarray, step: float = 1e-5
) -> np.ndarray:
    """Return df/dx, shaped like x, by central differences.

    For each entry in turn it is ``(f(x + h) - f(x - h)) / 2h`` with h = step;
    x itself is not changed. The error is about step^2 from the formula plus
    1e-16 / step from rounding.
    """
    x = np.array(x, dtype=np.float64)
    grad = np.zeros_like(x)
    for i in np.ndindex(x.shape):
        kept = x[i]
        x[i] = kept + step
        above = f(x)
        x[i] = kept - step
        below = f(x)
        x[i] = kept
        grad[i] = (above - below) / (2 * step)
    return grad
