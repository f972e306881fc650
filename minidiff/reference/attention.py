"""Softmax attention map: the softmax of scaled dot products."""

import numpy as np

from minidiff.reference.softmax import softmax


def attention_map(
    q: np.ndarray, k: np.ndarray, causal: bool = True
) -> np.ndarray:
    """Return ``softmax(q k' / sqrt(D))``, the weights (..., T, S).

    q (..., T, D) and k (..., S, D). With ``causal``, query t sees keys 0 to
    t + S - T (Vaswani et al. 2017, eq. 1).
    """
    T, D = q.shape[-2:]
    S = k.shape[-2]
    logits = q @ np.swapaxes(k, -1, -2) / np.sqrt(D)  # (..., T, S)
    if causal:
        hidden = ~np.tril(np.ones((T, S), dtype=bool), S - T)
        logits = np.where(hidden, -np.inf, logits)
    return softmax(logits)
