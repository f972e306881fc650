"""The definitions as plain loops: slow, but easy to verify by reading."""

from math import exp, sqrt

import numpy as np


def attention_map_loops(
    q: np.ndarray, k: np.ndarray, causal: bool = True
) -> np.ndarray:
    """Return ``softmax(q k' / sqrt(D))`` (T, S), one entry at a time.

    q (T, D) and k (S, D).
    """
    (T, D), S = q.shape, k.shape[0]
    A = np.zeros((T, S))
    for t in range(T):
        seen = t + S - T + 1 if causal else S
        logits = []
        for s in range(seen):
            dot = sum(q[t, i] * k[s, i] for i in range(D))
            logits.append(dot / sqrt(D))
        top = max(logits)
        total = sum(exp(x - top) for x in logits)
        for s in range(seen):
            A[t, s] = exp(logits[s] - top) / total
    return A


def diff_head_loops(
    q1: np.ndarray,
    k1: np.ndarray,
    q2: np.ndarray,
    k2: np.ndarray,
    v: np.ndarray,
    lam: float,
    causal: bool = True,
) -> np.ndarray:
    """Return ``(A1 - lam A2) v`` (T, Dv), one entry at a time.

    q1, q2 (T, D), k1, k2 (S, D), v (S, Dv). Ye et al. 2025, eq. 1.
    """
    A1 = attention_map_loops(q1, k1, causal)
    A2 = attention_map_loops(q2, k2, causal)
    T, (S, Dv) = q1.shape[0], v.shape
    out = np.zeros((T, Dv))
    for t in range(T):
        for s in range(S):
            weight = A1[t, s] - lam * A2[t, s]
            for c in range(Dv):
                out[t, c] += weight * v[s, c]
    return out


def headwise_norm_loops(
    o: np.ndarray, weight: np.ndarray, scale: float, eps: float = 1e-5
) -> np.ndarray:
    """Return ``scale * RMSNorm(o) * weight`` (H, T, Dv), row by row.

    o (H, T, Dv), weight (Dv,). Ye et al. 2025, eq. 3.
    """
    H, T, Dv = o.shape
    out = np.zeros_like(o)
    for h in range(H):
        for t in range(T):
            total = sum(o[h, t, c] ** 2 for c in range(Dv))
            rms = sqrt(total / Dv + eps)
            for c in range(Dv):
                out[h, t, c] = scale * o[h, t, c] / rms * weight[c]
    return out
