"""Keys or values in 8 bits, with a scale for each token, head and branch.

The scale comes from the largest absolute number of the D numbers that share
it (dynamic absmax quantisation). So nothing saturates, and an outlier makes
only its own token coarse, in its own head and branch. A scale per token costs
some speed in published kernels, and memory: 4 bytes beside D. The products of
low_bit_products.py have a scale for each block of tokens instead.
"""

import torch
from torch import Tensor

from minidiff.files.checks import one_of
from minidiff.ops.arguments import Arguments, check_tensor
from minidiff.ops.wide import wide

CODES = {"int8": torch.int8, "fp8": torch.float8_e4m3fn}
LARGEST = {"int8": 127.0, "fp8": 448.0}  # of these codes


def quantise(
    x: Tensor, precision: str, axes: tuple[int, ...] = (-1,)
) -> tuple[Tensor, Tensor]:
    """Return codes (..., D) of 8 bits and scales (..., 1) of x (..., D).

    ``codes * scales`` is x up to an error of half a step. The step of "int8"
    is the scale, 1/127 of the largest absolute number. The steps of "fp8"
    (e4m3: 4 bits of exponent, 3 of fraction) grow with the number, so the
    error is at most 1/16 of it, or 2**-10 of the scale if that is larger; the
    scale is 1/448 of the largest. Numbers along all of ``axes`` share a scale.

    Scales are float32, or float64 for a float64 x. If one of the numbers
    is NaN or infinite, all that share its scale are NaN or infinite when they
    are restored.

    Raises ValueError for another precision.
    """
    one_of("precision", precision, tuple(CODES))
    numbers = wide(x)
    limits = torch.finfo(numbers.dtype)
    largest = numbers.abs().amax(axes, keepdim=True)
    # Rounded down: the largest float must not overflow when it is restored.
    scale = largest / LARGEST[precision] * (1 - 2 * limits.eps)
    scale = scale.clamp(min=limits.tiny)  # zeros divide by no zero
    codes = numbers / scale
    if precision == "int8":
        codes = codes.round()
    return codes.to(CODES[precision]), scale


def restore(codes: Tensor, scale: Tensor, dtype: torch.dtype) -> Tensor:
    """Return ``codes * scale`` (..., D), rounded to ``dtype``."""
    return (codes.to(scale.dtype) * scale).to(dtype)


def restored(x: Arguments, scales: tuple[Tensor, Tensor]) -> Arguments:
    """Return the arguments with keys and values in the dtype of q."""
    k, v = (
        restore(codes, scale, x.q.dtype)
        for codes, scale in zip((x.k, x.v), scales, strict=True)
    )
    return x._replace(k=k, v=v)


def stand_ins(q: Tensor, *codes: Tensor) -> tuple[Tensor, ...]:
    """Return tensors of the codes' shapes and q's dtype, to be checked.

    They take no memory. What is no tensor is returned as it is.
    """
    return tuple(
        torch.empty((), dtype=q.dtype, device=c.device).expand(c.shape)
        if isinstance(c, Tensor) and isinstance(q, Tensor)
        else c
        for c in codes
    )


def check_scales(
    k: Tensor, v: Tensor, k_scale: Tensor | None, v_scale: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return both scales; raise, naming the argument, if one does not fit."""
    given = (("k", k, k_scale), ("v", v, v_scale))
    for name, codes, scale in given:
        if scale is not None:
            _check_scale(name, codes, scale)
    if k_scale is None or v_scale is None:
        missing, other = "k_scale", "v_scale"
        if k_scale is not None:
            missing, other = other, missing
        raise ValueError(
            f"{missing}: got None with {other}, expected both or none"
        )
    for name, codes, _ in given:
        if codes.dtype not in CODES.values():
            raise TypeError(
                f"{name}: got dtype {codes.dtype} with {name}_scale, expected "
                "codes of int8 or float8_e4m3fn"
            )
    return k_scale, v_scale


def _check_scale(name: str, codes: Tensor, scale: Tensor) -> None:
    shape = (*codes.shape[:-1], 1)
    check_tensor(f"{name}_scale", scale, str(shape), len(shape))
    if tuple(scale.shape) != shape:
        raise ValueError(
            f"{name}_scale: got shape {tuple(scale.shape)}, expected "
            f"{shape}, one for each row of {name} {tuple(codes.shape)}"
        )
    if scale.dtype not in (torch.float32, torch.float64):
        raise TypeError(
            f"{name}_scale: got dtype {scale.dtype}, expected float32 or "
            "float64"
        )
    if scale.device != codes.device:
        raise ValueError(
            f"{name}_scale: got device {scale.device}, expected "
            f"{codes.device} as {name}"
        )
