"""The operator's arguments as one named tuple, and their checks."""

from typing import NamedTuple

import torch
from torch import Tensor

from minidiff.files.checks import flag, number
from minidiff.ops.readable import is_readable

_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


class Arguments(NamedTuple):
    """All arguments of :func:`minidiff.diff_attention` except the backend.

    Backends and launchers take this tuple instead of the single arguments.
    A new argument must be added to that function, to this class, and to
    ``SCHEMA``.
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


# The fields of Arguments, in their order, in PyTorch's schema language.
SCHEMA = (
    "Tensor q, Tensor k, Tensor v, Tensor lam, bool causal, float scale, "
    "Tensor? norm_weight, float? norm_scale, float eps, Tensor? key_lengths"
)


def check_arguments(x: Arguments) -> Arguments:
    """Return the arguments with Python floats for all numbers.

    Raises a ValueError or TypeError that names the first bad argument.
    """
    _check_query(x.q)
    _check_key_value(x.q, x.k, x.v)
    x = _check_maps(x)
    return _check_norm(x)


def check_map_arguments(x: Arguments) -> Arguments:
    """Do the same for the arguments of ``attention_maps``; v is not read."""
    _check_query(x.q)
    _check_keys(x.q, x.k)
    return _check_maps(x)


def _check_maps(x: Arguments) -> Arguments:
    """Check what the maps depend on besides q and k."""
    lam, scale = x.lam, x.scale
    if isinstance(lam, Tensor):
        _check_lam(x.q, lam)
    else:
        lam = _number("lam", lam)
    flag("causal", x.causal)
    T, S = x.q.shape[3], x.k.shape[3]
    if x.causal and T > S:
        raise ValueError(
            f"causal: got T = {T} queries but S = {S} keys; a causal mask "
            "aligned to the end needs T <= S"
        )
    if scale is not None:
        scale = _number("scale", scale)
    if x.key_lengths is not None:
        check_key_lengths(x.q, x.k, x.key_lengths)
    return x._replace(lam=lam, scale=scale)


def _check_query(q: Tensor) -> None:
    check_tensor("q", q, "(B, H, 2, T, D)", 5)
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


def _check_keys(q: Tensor, k: Tensor) -> None:
    H, D = q.shape[1], q.shape[4]
    check_tensor("k", k, "(B, Hkv, P, S, D)", 5)
    _check_batch("k", k, q)
    if k.shape[2] not in (1, 2):
        raise ValueError(
            f"k: got P = {k.shape[2]} on axis 2, expected 2 (own keys for "
            "each branch) or 1 (shared keys)"
        )
    if k.shape[4] != D:
        raise ValueError(
            f"k: got width D = {k.shape[4]}, expected {D} as in q"
        )
    if H % k.shape[1]:
        raise ValueError(
            f"k: got Hkv = {k.shape[1]} heads, expected a number that divides "
            f"H = {H}, the heads of q"
        )


def _check_key_value(q: Tensor, k: Tensor, v: Tensor) -> None:
    _check_keys(q, k)
    check_tensor("v", v, "(B, Hkv, S, Dv)", 4)
    _check_batch("v", v, q)
    Hkv, S = k.shape[1], k.shape[3]
    if (v.shape[1], v.shape[2]) != (Hkv, S):
        raise ValueError(
            f"v: got shape {tuple(v.shape)}, expected (B, Hkv, S, Dv) with "
            f"Hkv = {Hkv} and S = {S} as in k"
        )


def _check_lam(q: Tensor, lam: Tensor) -> None:
    check_tensor("lam", lam, "0-d or (B, H, T)")
    if lam.dtype not in _FLOATS:
        raise TypeError(f"lam: got dtype {lam.dtype}, expected a float dtype")
    # A number may lie on another device, but must have a value to copy.
    if lam.device != q.device and (lam.ndim or lam.is_meta):
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


def _check_norm(x: Arguments) -> Arguments:
    eps, norm_scale, weight = x.eps, x.norm_scale, x.norm_weight
    eps = _number("eps", eps)
    if is_readable(eps) and eps < 0:
        raise ValueError(f"eps: got {eps}, expected a number >= 0")
    if norm_scale is not None:
        norm_scale = _number("norm_scale", norm_scale)
    x = x._replace(eps=eps, norm_scale=norm_scale)
    if weight is None:
        return x
    if norm_scale is None:
        raise ValueError(
            "norm_weight: given without norm_scale, so there is no norm to "
            "weight; expected norm_scale as well (1.0 for a plain norm)"
        )
    check_tensor("norm_weight", weight, "(Dv,)", 1)
    if weight.dtype not in _FLOATS:
        raise TypeError(
            f"norm_weight: got dtype {weight.dtype}, expected a float dtype"
        )
    if weight.shape[0] != x.v.shape[3]:
        raise ValueError(
            f"norm_weight: got shape {tuple(weight.shape)}, expected "
            f"({x.v.shape[3]},), the width of v"
        )
    if weight.device != x.q.device:
        raise ValueError(
            f"norm_weight: got device {weight.device}, expected "
            f"{x.q.device} as q"
        )
    return x


def check_key_lengths(q: Tensor, k: Tensor, key_lengths: Tensor) -> None:
    """Raise unless key_lengths is (B,) integers from 0 to S."""
    check_tensor("key_lengths", key_lengths, "(B,)", 1)
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


def check_tensor(
    name: str, x: object, shape: str, ndim: int | None = None
) -> None:
    """Raise unless x is a dense tensor with ``ndim`` axes.

    ``shape`` says in words what is expected.
    """
    if not isinstance(x, Tensor):
        raise TypeError(
            f"{name}: got {type(x).__name__}, expected a tensor {shape}"
        )
    # Operations on sparse tensors give wrong numbers or obscure errors.
    if x.is_nested or x.layout != torch.strided:
        raise TypeError(
            f"{name}: got a sparse or nested tensor ({x.layout}), expected "
            "a dense one"
        )
    if ndim is not None and x.ndim != ndim:
        raise ValueError(
            f"{name}: got {x.ndim} axes, shape {tuple(x.shape)}, expected "
            f"{shape}"
        )


def _check_batch(name: str, x: Tensor, q: Tensor) -> None:
    """Check dtype, device, batch and that no axis is empty."""
    if x.dtype != q.dtype:
        raise TypeError(
            f"{name}: got dtype {x.dtype}, expected {q.dtype} as q"
        )
    if x.device != q.device:
        raise ValueError(
            f"{name}: got device {x.device}, expected {q.device} as q"
        )
    if 0 in x.shape:
        raise ValueError(
            f"{name}: got shape {tuple(x.shape)}, expected every axis >= 1"
        )
    if x.shape[0] != q.shape[0]:
        raise ValueError(
            f"{name}: got batch {x.shape[0]}, expected {q.shape[0]} as in q"
        )


def _number(name: str, x: float) -> float:
    """Return a finite Python float, or a compiler's symbol as it is."""
    symbol = not isinstance(x, Tensor) and not is_readable(x)
    return x if symbol else number(name, x)
