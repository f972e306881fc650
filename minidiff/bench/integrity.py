"""Checks that a benchmark was not cheated, on purpose or by accident.

An implementation must compute its result in each call, from the inputs of
that call, and leave these as they are. Each error names the implementation.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from minidiff.bench.inputs import Inputs

NAMES = ("q", "k", "v", "lam", "weight")  # of all kinds, in their order
# Another lambda than the one that is timed.
_LAM = 0.6


def fingerprint(given: Inputs) -> tuple[int, ...]:
    """Return a number for each input that tells whether it was changed.

    It is the sum of the bits of all entries, read as integers. A copy to
    compare with would need as much memory again.
    """
    kinds = {2: torch.int16, 4: torch.int32, 8: torch.int64}
    return tuple(
        int(x.detach().view(kinds[x.element_size()]).sum(dtype=torch.int64))
        for x in given
    )


def check_unchanged(name: str, given: Inputs, before: Sequence[int]) -> None:
    """Raise ArithmeticError unless the inputs are as they were before.

    ``before`` is their `fingerprint`, and ``name`` whoever ran since.
    """
    for argument, old, new in zip(
        NAMES, before, fingerprint(given), strict=False
    ):
        if old != new:
            raise ArithmeticError(
                f"{name}: changed its input {argument}, expected inputs left "
                "as they are"
            )


def check_result(name: str, out: Tensor, given: Inputs) -> None:
    """Raise ArithmeticError for a result with NaN, or in an input's memory.

    Memory that was not written is NaN, too (`poison.poisoned`).
    """
    if not out.isfinite().all():
        raise ArithmeticError(
            f"{name}: the result has NaN or infinity, or entries that were "
            "never written; expected finite numbers everywhere"
        )
    for argument, x in zip(NAMES, given, strict=False):
        if out.untyped_storage().data_ptr() == x.untyped_storage().data_ptr():
            raise ArithmeticError(
                f"{name}: the result lies in the memory of its input "
                f"{argument}, expected memory of its own"
            )


def refill(given: Inputs, seed: int) -> None:
    """Write other numbers to the inputs, in the same memory."""
    g = torch.Generator(given[0].device).manual_seed(seed)
    with torch.no_grad():
        for x in given:
            if x.ndim:
                x.normal_(generator=g)
            else:
                x.fill_(_LAM)
