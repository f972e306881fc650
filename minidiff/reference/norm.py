"""The headwise norm: RMSNorm of each head and token over its channels."""

import numpy as np


def headwise_norm(
    o: np.ndarray,
    weight: np.ndarray | float = 1.0,
    scale: float = 1.0,
    eps: float = 1e-5,
) -> np.ndarray:
    """Return ``scale * o / sqrt(mean(o^2) + eps) * weight``.

    o (..., H, T, Dv), weight (Dv,) shared by the heads; the mean runs over
    the last axis only. Ye et al. 2025, eq. 3, with scale = 1 - lambda_init.
    """
    rms = np.sqrt((o**2).mean(-1, keepdims=True) + eps)
    return scale * o / rms * weight


def headwise_norm_backward(
    o: np.ndarray,
    dy: np.ndarray,
    weight: np.ndarray | float = 1.0,
    scale: float = 1.0,
    eps: float = 1e-5,
) -> tuple[np.ndarray, np.ndarray]:
    """Return do (..., Dv) and dweight (Dv,) from dy (..., Dv).

    With r = 1 / rms and g = scale * weight * dy:
    ``do = r (g - o r^2 mean(g o))`` and ``dweight = sum(scale * dy * o r)``.
    """
    r = 1 / np.sqrt((o**2).mean(-1, keepdims=True) + eps)
    g = scale * weight * dy
    do = r * (g - o * r**2 * (g * o).mean(-1, keepdims=True))
    dweight = (scale * dy * o * r).reshape(-1, o.shape[-1]).sum(0)
    return do, dweight
