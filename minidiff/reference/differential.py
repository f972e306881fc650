"""Differential attention: one head first, then the whole operator."""

import numpy as np

from minidiff.reference.attention import attention_map
from minidiff.reference.norm import headwise_norm
from minidiff.reference.softmax import softmax


def diff_map(
    q1: np.ndarray,
    k1: np.ndarray,
    q2: np.ndarray,
    k2: np.ndarray,
    lam: float,
    causal: bool = True,
) -> np.ndarray:
    """Return ``A1 - lam A2`` (T, S), the differential map of one head.

    q1, q2 (T, D), k1, k2 (S, D). Ye et al. 2025, eq. 1.
    """
    A1 = attention_map(q1, k1, causal)
    A2 = attention_map(q2, k2, causal)
    return A1 - lam * A2


def diff_head(
    q1: np.ndarray,
    k1: np.ndarray,
    q2: np.ndarray,
    k2: np.ndarray,
    v: np.ndarray,
    lam: float,
    causal: bool = True,
) -> np.ndarray:
    """Return ``(A1 - lam A2) v`` (T, Dv), the output of one head.

    q1, q2 (T, D), k1, k2 (S, D), v (S, Dv). Ye et al. 2025, eq. 1.
    """
    return diff_map(q1, k1, q2, k2, lam, causal) @ v


def diff_attention(
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    lam: float | np.ndarray,
    *,
    causal: bool = True,
    scale: float | None = None,
    norm_weight: np.ndarray | None = None,
    norm_scale: float | None = None,
    eps: float = 1e-5,
    key_lengths: np.ndarray | None = None,
) -> np.ndarray:
    """Differential attention of all heads, (B, H, T, Dv), in float64.

    The arguments are those of :func:`minidiff.diff_attention` as arrays:
    q (B, H, 2, T, D), k (B, Hkv, P, S, D), v (B, Hkv, S, Dv), lam a number or
    (B or 1, H or 1, T or 1). They are not checked here, only in the operator.
    """
    A1, A2, v = maps_and_values(q, k, v, causal, scale, key_lengths)
    out = (A1 - weight_rows(lam) * A2) @ v  # (B, H, T, Dv)
    if norm_scale is None:
        return out
    weight = 1.0 if norm_weight is None else norm_weight
    return headwise_norm(out, weight, norm_scale, eps)


def maps_and_values(
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    causal: bool,
    scale: float | None,
    key_lengths: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return A1, A2 (B, H, T, S) and v (B, H, S, Dv), repeated for H heads.

    Head h, with both its branches, uses key/value head h // (H / Hkv). Branch
    i uses branch i of the keys, or the only one if P is 1.
    """
    q, k, v = (np.asarray(x, dtype=np.float64) for x in (q, k, v))
    (B, H, _, T, D), S = q.shape, k.shape[3]
    scale = 1 / np.sqrt(D) if scale is None else scale
    group = H // k.shape[1]
    k, v = np.repeat(k, group, 1), np.repeat(v, group, 1)
    logits = q @ np.swapaxes(k, -1, -2) * scale
    mask = np.ones((B, T, S), dtype=bool)
    if causal:
        mask = np.tril(mask, S - T)
    if key_lengths is not None:
        inside = np.arange(S) < np.asarray(key_lengths)[:, None]
        mask = mask & inside[:, None, :]
    mask = mask[:, None, None]  # (B, 1, 1, T, S)
    # For a query that sees no key, take the softmax of zeros, which is finite,
    # and set the row to zero afterwards.
    logits = np.where(mask, logits, -np.inf)
    logits = np.where(mask.any(-1, keepdims=True), logits, 0)
    A = np.where(mask, softmax(logits), 0)
    return A[:, :, 0], A[:, :, 1], v


def weight_rows(lam: float | np.ndarray) -> np.ndarray:
    """Reshape lam so that it broadcasts over the keys of (B, H, T, S)."""
    lam = np.asarray(lam, dtype=np.float64)
    return lam[..., None] if lam.ndim else lam
