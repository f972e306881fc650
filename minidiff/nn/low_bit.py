"""Memory for keys or values that stores 8 bits a number."""

from copy import copy
from typing import Any

import torch
from torch import Tensor

from minidiff.files.checks import one_of
from minidiff.nn.kept_keys import only
from minidiff.ops.low_bit import CODES, quantise, restore
from minidiff.ops.wide import wide_dtype


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
        return restore(*self.codes(index), self.dtype)

    def codes(self, index: Any) -> tuple[Tensor, Tensor]:
        """Return views of the codes (..., D) and their scales (..., 1)."""
        return self._codes[index], self._scale[index]

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
