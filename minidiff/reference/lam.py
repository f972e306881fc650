"""Lambda: its schedule over layers and its learnable form."""

from math import exp

import numpy as np


def lambda_init(depth: int) -> float:
    """Return ``0.8 - 0.6 exp(-0.3 depth)``, depth counted from 0.

    Ye et al. 2025, section 2.1, which counts layers from 1.
    """
    return 0.8 - 0.6 * exp(-0.3 * depth)


def lambda_value(
    lq1: np.ndarray,
    lk1: np.ndarray,
    lq2: np.ndarray,
    lk2: np.ndarray,
    lam_init: float,
) -> float:
    """Return ``exp(lq1 . lk1) - exp(lq2 . lk2) + lam_init``.

    Four vectors (D,) of one layer. Ye et al. 2025, eq. 2.
    """
    return float(np.exp(lq1 @ lk1) - np.exp(lq2 @ lk2) + lam_init)
