"""One result of one case: what came and what was expected, as numbers."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from minidiff.check.compare import Part


@dataclass(frozen=True)
class Pair:
    """A result ``got`` and the solution's, ``want``, of the same shape.

    ``args`` are the case's arguments by name.
    """

    case: str
    args: dict[str, Any]
    got: np.ndarray
    want: np.ndarray
    tolerance: float

    @cached_property
    def wrong(self) -> np.ndarray:
        """Whether each number is wrong."""
        return ~close(self.got, self.want, self.tolerance)

    def is_like(self, other: Any) -> bool:
        """Tell whether what came is equal to ``other``, in shape too."""
        return np.shape(other) == self.got.shape and bool(
            close(self.got, other, self.tolerance).all()
        )


def pair_of(
    case: str, args: dict[str, Any], got: Part, want: Part, tolerance: float
) -> Pair | None:
    """Return two results as a pair; None if they are not real numbers."""
    values = []
    for part in (got, want):
        if part.value is None or part.numbers not in (
            "real",
            "integer",
            "boolean",
        ):
            return None
        values.append(np.asarray(part.value, dtype=np.float64))
    if values[0].shape != values[1].shape:
        return None
    return Pair(case, args, values[0], values[1], tolerance)


def close(x: Any, y: Any, tolerance: float) -> np.ndarray:
    """Tell which numbers agree; NaN agrees with NaN."""
    return np.isclose(x, y, rtol=tolerance, atol=tolerance, equal_nan=True)


def distinct(x: np.ndarray) -> int:
    """Return how many different numbers, but for rounding, are not 0."""
    x = x[np.isfinite(x) & (x != 0)]
    return len({float(f"{n:.6g}") for n in x.ravel()[:1000]})


def axis_words(ndim: int, axis: int) -> tuple[str, str]:
    """Return what an index along an axis is called, for one and several."""
    if ndim == 1:
        return "number", "numbers"
    if axis == ndim - 1:
        return "column", "columns"
    if axis == ndim - 2:
        return "row", "rows"
    return f"index of axis {axis}", f"indices of axis {axis}"
