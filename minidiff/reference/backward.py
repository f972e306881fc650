"""The gradients of differential attention, derived by hand."""

from typing import NamedTuple

import numpy as np

from minidiff.reference.differential import maps_and_values, weight_rows
from minidiff.reference.norm import headwise_norm_backward
from minidiff.reference.softmax import softmax_backward


class Gradients(NamedTuple):
    """Gradients of the inputs, each shaped like its input.

    norm_weight's gradient is None if no norm_weight was given.
    """

    q: np.ndarray
    k: np.ndarray
    v: np.ndarray
    lam: np.ndarray
    norm_weight: np.ndarray | None


def diff_attention_backward(
    dout: np.ndarray,
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
) -> Gradients:
    """Return the gradients of ``sum(dout * out)``, float64.

    dout is (B, H, T, Dv); the other arguments are those of `diff_attention`.
    With A = A1 - lam A2 and o = A v: dv = A' do, dA = do v', dA1 = dA and
    dA2 = -lam dA. The gradient of lam is -sum(dA * A2), where the sum runs
    over the keys and all axes along which lam was broadcast.
    """
    A1, A2, v_all = maps_and_values(q, k, v, causal, scale, key_lengths)
    rows = weight_rows(lam)
    A = A1 - rows * A2
    do, dweight = np.asarray(dout, dtype=np.float64), None
    if norm_scale is not None:
        weight = 1.0 if norm_weight is None else norm_weight
        do, dweight = headwise_norm_backward(
            A @ v_all, do, weight, norm_scale, eps
        )
    dv = np.swapaxes(A, -1, -2) @ do  # (B, H, S, Dv)
    dA = do @ np.swapaxes(v_all, -1, -2)  # (B, H, T, S)
    dlam = -(dA * A2).sum(-1)  # (B, H, T)
    dS = np.stack(
        [softmax_backward(A1, dA), softmax_backward(A2, -rows * dA)], 2
    )
    scale = 1 / np.sqrt(q.shape[-1]) if scale is None else scale
    dS = dS * scale  # (B, H, 2, T, S)
    dq = dS @ np.repeat(k, q.shape[1] // k.shape[1], 1)
    dk = np.swapaxes(dS, -1, -2) @ q  # (B, H, 2, S, D)
    if k.shape[2] == 1:
        dk = dk.sum(2, keepdims=True)
    return Gradients(
        q=dq,
        k=_sum_groups(dk, k.shape[1]),
        v=_sum_groups(dv, v.shape[1]),
        lam=_sum_to(dlam, np.shape(lam)),
        norm_weight=None if norm_weight is None else dweight,
    )


def _sum_groups(x: np.ndarray, heads: int) -> np.ndarray:
    """Sum over the query heads that share each key/value head.

    x is (B, H, ...), the result (B, heads, ...).
    """
    B, H = x.shape[:2]
    return x.reshape(B, heads, H // heads, *x.shape[2:]).sum(2)


def _sum_to(x: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Sum x over every axis along which ``shape`` was broadcast."""
    if shape == ():
        return x.sum()
    axes = tuple(i for i, n in enumerate(shape) if n == 1)
    return x.sum(axes, keepdims=True)
