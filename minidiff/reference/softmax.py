"""Softmax over the last axis, forward and backward."""

import numpy as np


def softmax(x: np.ndarray) -> np.ndarray:
    """Return ``exp(x) / sum(exp(x))`` over the last axis of x (..., S).

    The largest entry is subtracted first: the result is the same and no
    exponential can overflow. -inf entries get exactly zero.
    """
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def softmax_backward(y: np.ndarray, dy: np.ndarray) -> np.ndarray:
    """Return dx (..., S) from y = softmax(x) and dy, both (..., S).

    ``dx = y * (dy - sum(y * dy))``: the Jacobian diag(y) - y y' applied to
    dy without building it.
    """
    return y * (dy - (y * dy).sum(-1, keepdims=True))
