"""Wrong differential heads: the mistakes of exercise 3.2."""

import numpy as np

from minidiff.reference import attention_map, diff_head, softmax


def head(
    x: np.ndarray,
    Wq: np.ndarray,
    Wk: np.ndarray,
    Wv: np.ndarray,
    lam: float,
) -> np.ndarray:
    """A right head, for heads that are wrong in their weights or in lam."""
    q1, q2 = np.split(x @ Wq, 2, axis=-1)
    k1, k2 = np.split(x @ Wk, 2, axis=-1)
    return diff_head(q1, k1, q2, k2, x @ Wv, lam)


def head_like(
    x: np.ndarray,
    Wq: np.ndarray,
    Wk: np.ndarray,
    Wv: np.ndarray,
    lam: float,
    *,
    columns: tuple[slice, slice] | None = None,
    width: float = 1.0,
    edge: int | None = 0,
    hide: float = -np.inf,
    late: bool = False,
    safe: bool = True,
    factors: tuple[float, float] | None = None,
    rescaled: bool = False,
) -> np.ndarray:
    """One head with something about it changed: the mistakes of 3.2."""
    T, D = len(x), Wq.shape[1] // 2
    first, second = columns or (slice(0, D), slice(D, None))
    maps = []
    for part in (first, second):
        q, k = (x @ Wq)[:, part], (x @ Wk)[:, part]
        logits = q @ k.T / np.sqrt(D * width)
        hidden = np.zeros((T, T), dtype=bool)
        if edge is not None:
            hidden = ~np.tril(np.ones((T, T), dtype=bool), edge)
        if not late:
            logits = np.where(hidden, hide, logits)
        top = logits.max(-1, keepdims=True) if safe else 0
        e = np.exp(logits - top)
        weights = e / e.sum(-1, keepdims=True)
        maps.append(np.where(hidden, 0, weights) if late else weights)
    w1, w2 = factors or (1, -lam)
    A = w1 * maps[0] + w2 * maps[1]
    if rescaled:
        A = A / A.sum(-1, keepdims=True)
    return A @ (x @ Wv)


def values_joined(
    x: np.ndarray,
    Wq: np.ndarray,
    Wk: np.ndarray,
    Wv: np.ndarray,
    lam: float,
) -> np.ndarray:
    """Cut the values in half, one half for each map, and join the outputs."""
    D = Wv.shape[1] // 2
    first, second = (map_of(x, Wq, Wk, branch) for branch in (0, 1))
    v = x @ Wv
    return np.concatenate([first @ v[:, :D], -lam * second @ v[:, D:]], -1)


def values_added(
    x: np.ndarray,
    Wq: np.ndarray,
    Wk: np.ndarray,
    Wv: np.ndarray,
    lam: float,
) -> np.ndarray:
    """Cut the values in half, one half for each map, and subtract, (T, D)."""
    D = Wv.shape[1] // 2
    both = values_joined(x, Wq, Wk, Wv, lam)
    return both[:, :D] + both[:, D:]


def cut_at_half_of_E(
    x: np.ndarray,
    Wq: np.ndarray,
    Wk: np.ndarray,
    Wv: np.ndarray,
    lam: float,
) -> np.ndarray:
    """Cut queries and keys at E / 2 instead of D."""
    half = x.shape[1] // 2
    q, k = x @ Wq, x @ Wk
    A1 = attention_map(q[:, :half], k[:, :half])
    return (A1 - lam * attention_map(q[:, half:], k[:, half:])) @ (x @ Wv)


def one_softmax(
    x: np.ndarray,
    Wq: np.ndarray,
    Wk: np.ndarray,
    Wv: np.ndarray,
    lam: float,
) -> np.ndarray:
    """Subtract the scores, then take one softmax."""
    q1, q2 = np.split(x @ Wq, 2, axis=-1)
    k1, k2 = np.split(x @ Wk, 2, axis=-1)
    logits = (q1 @ k1.T - lam * q2 @ k2.T) / np.sqrt(q1.shape[1])
    hidden = ~np.tril(np.ones(logits.shape, dtype=bool))
    return softmax(np.where(hidden, -np.inf, logits)) @ (x @ Wv)


def map_of(
    x: np.ndarray, Wq: np.ndarray, Wk: np.ndarray, branch: int
) -> np.ndarray:
    """Return the causal map of one branch."""
    q, k = (np.split(x @ W, 2, -1)[branch] for W in (Wq, Wk))
    return attention_map(q, k)


def swapped_in_a_branch(
    x: np.ndarray,
    Wq: np.ndarray,
    Wk: np.ndarray,
    Wv: np.ndarray,
    lam: float,
    *,
    branch: int,
) -> np.ndarray:
    """The queries of one branch in the place of its keys."""
    D = Wq.shape[1] // 2
    own = slice(branch * D, branch * D + D)
    Wq, Wk = Wq.copy(), Wk.copy()
    Wq[:, own], Wk[:, own] = Wk[:, own].copy(), Wq[:, own].copy()
    return head(x, Wq, Wk, Wv, lam)
