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
    """Return what the call returns, or the first line of its refusal.

    Any error is a refusal: PyTorch's, a full memory's, ours, and those of
    Triton's compiler, which have no class in common. But what raises an
    ArithmeticError is wrong, and nobody should time it.
    """
    try:
        with warnings.catch_warnings():
            # A kernel that refuses warns before it raises.
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
    """Make the call that is timed where nothing is learnt."""

    def call() -> Tensor:
        with torch.no_grad():
            return attend(*given)

    return call
