"""Refusals: an implementation may reject its inputs; keep its reason."""

import warnings
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

from minidiff.bench.inputs import Inputs

Result = TypeVar("Result")


def attempt(
    call: Callable[[], Result],
) -> tuple[Result, None] | tuple[None, str]:
    """Return the call's result, or the first line of its error message.

    Every error counts as a refusal: those of PyTorch, out of memory, our own
    and those of Triton's compiler have no common class. Only ArithmeticError
    is passed on: it means that the result is wrong and must not be timed.
    """
    try:
        with warnings.catch_warnings():
            # PyTorch's kernels warn before they raise; the error is enough.
            warnings.simplefilter("ignore")
            return call(), None
    except ArithmeticError:
        raise
    except Exception as error:
        first, *_ = str(error).strip().splitlines() or [repr(error)]
        return None, first[:200]


def forward(
    attend: Callable[..., Tensor], given: Inputs
) -> Callable[[], Tensor]:
    """Return the forward pass as a call without gradients, to be timed."""

    def call() -> Tensor:
        with torch.no_grad():
            return attend(*given)

    return call
