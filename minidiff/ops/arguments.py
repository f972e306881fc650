"""The operator's arguments as one named tuple, and their checks."""

from math import isfinite
from numbers import Real
from typing import NamedTuple

import torch
from torch import Tensor

from minidiff.ops.readable import is_readable

_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


class Arguments(NamedTuple):
    """All arguments of :func:`minidiff.diff_attention` except the backend.

    Backends and launchers take this tuple instead of the single arguments.
    A new argument must be added to that function, to this class, and to
    ``SCHEMA`` in triton/operator.py.
    """

    q: Tensor
    k: Tensor
    v: Tensor
    lam: float | Tensor
    causal: bool = True
    scale: float | None = None
    norm_weight: Tensor | None = None
    norm_scale: float | None = None
    eps: float = 1e-5
    key_lengths: Tensor | None = None


def check_arguments(x: Arguments) -> None:
    """Raise a ValueError or TypeError that names the first bad argument."""
    _check_query(x.q)
    _check_key_value(x.q, x.k, x.v)
    _check_lam(x.q, x.lam)
    T, S = x.q.shape[3], x.k.shape[3]
    if x.causal and T > S:
        raise ValueError(
            f"causal: got T = {T} queries but S = {S} keys; a causal mask "
            "aligned to the end needs T <= S"
        )
    if x.scale is not None:
        _check_number("scale", x.scale)
    _check_norm(x)
    if x.key_lengths is not None:
        check_key_lengths(x.q, x.k, x.key_lengths)


def _check_query(q: Tensor) -> None:
    _check_tensor("q", q, "(B, H, 2, T, D)", 5)
    if q.dtype not in _FLOATS:
        raise TypeError(f"q: got dtype {q.dtype}, expected a float dtype")
    if q.shape[2] != 2:
        raise ValueError(
            f"q: got shape {tuple(q.shape)}, expected (B, H, 2, T, D) with "
            "the two branches on axis 2"
        )
    if 0 in q.shape:
        raise ValueError(
            f"q: got shape {tuple(q.shape)}, expected every axis >= 1"
        )


def _check_key_value(q: Tensor, k: Tensor, v: Tensor) -> None:
    B, H, _, _, D = q.shape
    _check_tensor("k", k, "(B, Hkv, P, S, D)", 5)
    _check_tensor("v", v, "(B, Hkv, S, Dv)", 4)
    for name, x in (("k", k), ("v", v)):
        _check_like_query(name, x, q)
        if 0 in x.shape:
            raise ValueError(
                f"{name}: got shape {tuple(x.shape)}, expected every axis >= 1"
            )
        if x.shape[0] != B:
            raise ValueError(
                f"{name}: got batch {x.shape[0]}, expected {B} as in q"
            )
    if k.shape[2] not in (1, 2):
        raise ValueError(
            f"k: got P = {k.shape[2]} on axis 2, expected 2 (own keys for "
            "each branch) or 1 (shared keys)"
        )
    if k.shape[4] != D:
        raise ValueError(
            f"k: got width D = {k.shape[4]}, expected {D} as in q"
        )
    Hkv, S = k.shape[1], k.shape[3]
    if (v.shape[1], v.shape[2]) != (Hkv, S):
        raise ValueError(
            f"v: got shape {tuple(v.shape)}, expected (B, Hkv, S, Dv) with "
            f"Hkv = {Hkv} and S = {S} as in k"
        )
    if H % Hkv:
        raise ValueError(
            f"k: got Hkv = {Hkv} heads, expected a number that divides "
            f"H = {H}, the heads of q"
        )


def _check_lam(q: Tensor, lam: float | Tensor) -> None:
    if not isinstance(lam, Tensor):
        _check_number("lam", lam)
        return
    if not lam.is_floating_point():
        raise TypeError(f"lam: got dtype {lam.dtype}, expected a float dtype")
    if lam.device != q.device and lam.ndim:
        raise ValueError(
            f"lam: got device {lam.device}, expected {q.device} as q"
        )
    if lam.ndim == 0:
        return
    B, H, _, T, _ = q.shape
    fits = lam.ndim == 3 and all(
        n in (1, full) for n, full in zip(lam.shape, (B, H, T), strict=True)
    )
    if not fits:
        raise ValueError(
            f"lam: got shape {tuple(lam.shape)}, expected a number, a 0-d "
            f"tensor, or ({B} or 1, {H} or 1, {T} or 1) for (B, H, T)"
        )


def _check_norm(x: Arguments) -> None:
    _check_number("eps", x.eps)
    if x.eps < 0:
        raise ValueError(f"eps: got {x.eps}, expected a number >= 0")
    if x.norm_scale is not None:
        _check_number("norm_scale", x.norm_scale)
    if x.norm_weight is None:
        return
    if x.norm_scale is None:
        raise ValueError(
            "norm_weight: given without norm_scale, so there is no norm to "
            "weight; expected norm_scale as well (1.0 for a plain norm)"
        )
    _check_tensor("norm_weight", x.norm_weight, "(Dv,)", 1)
    if x.norm_weight.shape[0] != x.v.shape[3]:
        raise ValueError(
            f"norm_weight: got shape {tuple(x.norm_weight.shape)}, expected "
            f"({x.v.shape[3]},), the width of v"
        )
    if x.norm_weight.device != x.q.device:
        raise ValueError(
            f"norm_weight: got device {x.norm_weight.device}, expected "
            f"{x.q.device} as q"
        )


def check_key_lengths(q: Tensor, k: Tensor, key_lengths: Tensor) -> None:
    """Raise unless key_lengths is (B,) integers from 0 to S."""
    _check_tensor("key_lengths", key_lengths, "(B,)", 1)
    B, S = q.shape[0], k.shape[3]
    if key_lengths.dtype not in (torch.int32, torch.int64):
        raise TypeError(
            f"key_lengths: got dtype {key_lengths.dtype}, expected int32 or "
            "int64"
        )
    if key_lengths.shape[0] != B:
        raise ValueError(
            f"key_lengths: got shape {tuple(key_lengths.shape)}, expected "
            f"({B},)"
        )
    if key_lengths.device != q.device:
        raise ValueError(
            f"key_lengths: got device {key_lengths.device}, expected "
            f"{q.device} as q"
        )
    if is_readable(key_lengths):
        low, high = int(key_lengths.min()), int(key_lengths.max())
        if low < 0 or high > S:
            raise ValueError(
                f"key_lengths: got values from {low} to {high}, expected 0 "
                f"to S = {S}"
            )


def _check_tensor(name: str, x: object, shape: str, ndim: int) -> None:
    if not isinstance(x, Tensor):
        raise TypeError(
            f"{name}: got {type(x).__name__}, expected a tensor {shape}"
        )
    if x.ndim != ndim:
        raise ValueError(
            f"{name}: got {x.ndim} axes, shape {tuple(x.shape)}, expected "
            f"{shape}"
        )


def _check_like_query(name: str, x: Tensor, q: Tensor) -> None:
    if x.dtype != q.dtype:
        raise TypeError(
            f"{name}: got dtype {x.dtype}, expected {q.dtype} as q"
        )
    if x.device != q.device:
        raise ValueError(
            f"{name}: got device {x.device}, expected {q.device} as q"
        )


def _check_number(name: str, x: object) -> None:
    if isinstance(x, bool) or not isinstance(x, Real):
        raise TypeError(
            f"{name}: got {type(x).__name__}, expected a real number"
        )
    if not isfinite(x):
        raise ValueError(f"{name}: got {x}, expected a finite number")
