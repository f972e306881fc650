"""Keys or values in 8 bits, with a scale for each token, head and branch.

The scale comes from the largest absolute number of the D numbers that share
it (dynamic absmax quantisation). So nothing saturates, and an outlier makes
only its own token coarse, in its own head and branch. A scale per token costs
some speed in published kernels, and memory: 4 bytes beside D.
"""

from copy import copy
from typing import Any

import torch
from torch import Tensor

from minidiff.files.checks import one_of
from minidiff.nn.kept_keys import only
from minidiff.ops.wide import wide, wide_dtype

CODES = {"int8": torch.int8, "fp8": torch.float8_e4m3fn}
LARGEST = {"int8": 127.0, "fp8": 448.0}  # of these codes


def quantise(x: Tensor, precision: str) -> tuple[Tensor, Tensor]:
    """Return codes (..., D) of 8 bits and scales (..., 1) of x (..., D).

    ``codes * scales`` is x up to an error of half a step. The step of "int8"
    is the scale, 1/127 of the largest absolute number. The steps of "fp8"
    (e4m3: 4 bits of exponent, 3 of fraction) grow with the number, so the
    error is at most 1/16 of it, or 2**-10 of the scale if that is larger; the
    scale is 1/448 of the largest.

    Scales are float32, or float64 for a float64 x. If one of the D numbers is
    NaN or infinite, all D are NaN or infinite when they are restored.

    Raises ValueError for another precision.
    """
    one_of("precision", precision, tuple(CODES))
    numbers = wide(x)
    limits = torch.finfo(numbers.dtype)
    largest = numbers.abs().amax(-1, keepdim=True)
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


class LowBit:
    """Memory (..., D) of 8 bits a number, read and written as a tensor.

    Writing quantises and reading restores the dtype that was written. An
    index leaves the last axis whole, as ``memory[..., start:end, :]`` does.
    Reading makes a copy.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        precision: str,
        *,
        dtype: torch.dtype,
        device: torch.device | str | None = None,
    ) -> None:
        one_of("precision", precision, tuple(CODES))
        self.precision, self.dtype = precision, dtype
        self._codes = torch.empty(shape, dtype=CODES[precision], device=device)
        self._scale = torch.empty(
            (*shape[:-1], 1),
            dtype=wide_dtype(torch.empty(0, dtype=dtype)),
            device=device,
        )

    @property
    def shape(self) -> torch.Size:
        """Shape of the numbers; D is last."""
        return self._codes.shape

    @property
    def device(self) -> torch.device:
        """Where the memory is."""
        return self._codes.device

    @property
    def nbytes(self) -> int:
        """Memory of the codes and the scales in bytes."""
        return self._codes.nbytes + self._scale.nbytes

    def __setitem__(self, index: Any, x: Tensor) -> None:
        self._codes[index], self._scale[index] = quantise(x, self.precision)

    def __getitem__(self, index: Any) -> Tensor:
        return restore(self._codes[index], self._scale[index], self.dtype)

    def only(self, kept: Tensor, S: int) -> "LowBit":
        """Return smaller memory, as :func:`minidiff.nn.kept_keys.only`.

        Codes and scales are copied, so nothing is rounded again.
        """
        new = copy(self)
        # PyTorch cannot gather fp8, but its bytes.
        new._codes = only(self._codes.view(torch.int8), kept, S).view(
            self._codes.dtype
        )
        new._scale = only(self._scale, kept, S)
        return new
