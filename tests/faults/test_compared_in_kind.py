"""Answers of another kind than the solution's do not pass by their values."""

from types import FunctionType

import numpy as np
import pytest
import torch

from minidiff import check
from minidiff.check.core import check as run
from tests.check.test_checks import EXERCISES, INTERPRETED, SETS, name


def as_numpy(x):
    return x.detach().numpy() if isinstance(x, torch.Tensor) else np.asarray(x)


def whole(x):
    return as_numpy(x).dtype.kind in "bi"


def text(x):
    return str(x) if isinstance(x, int | float) else as_numpy(x).astype(str)


def other_precision(x):
    if not np.ndim(x):
        return None  # a number may have any precision
    if isinstance(x, torch.Tensor):
        return x.to(torch.float32 if x.dtype == torch.float64 else torch.half)
    return np.asarray(x, np.float32) if not whole(x) else x.astype(np.float32)


DISGUISES = {
    "complex": lambda x: x + 1j,
    "text": text,
    "masked": lambda x: np.ma.array(as_numpy(x), mask=True),
    "objects": lambda x: np.asarray(as_numpy(x), object),
    "real": lambda x: x * 1.0 if whole(x) else None,
    "nearly whole": lambda x: x * 1.001 if whole(x) else None,
    "extra axis": lambda x: x[None] if np.ndim(x) else np.asarray(x)[None],
    "not a number": lambda x: x * np.nan,
    "other precision": other_precision,
}


def leaves(x):
    """The numbers, arrays and tensors of a result."""
    if isinstance(x, list | tuple):
        return [leaf for part in x for leaf in leaves(part)]
    return [x]


def changed(x, change):
    if isinstance(x, list | tuple):
        return type(x)(changed(part, change) for part in x)
    return change(x)


def disguised(solution, change):
    """The solution, each of its results changed: a function or a class."""
    if isinstance(solution, FunctionType):
        return lambda *args: changed(solution(*args), change)
    if issubclass(solution, torch.nn.Module):

        class Module(solution):
            def forward(self, *args):
                return changed(super().forward(*args), change)

        return Module

    class Function(solution):
        @classmethod
        def apply(cls, *args):
            return changed(solution.apply(*args), change)

    return Function


PLAIN = [e for e in EXERCISES if not hasattr(e.solution, "run")]


def test_there_are_exercises_of_every_chapter():
    assert len(PLAIN) > 50
    left_out = {check.set_of(e.id) for e in EXERCISES if e not in PLAIN}
    assert left_out <= INTERPRETED
    assert {check.set_of(e.id) for e in PLAIN} >= set(SETS) - INTERPRETED


@pytest.mark.parametrize("kind", DISGUISES)
@pytest.mark.parametrize("exercise", PLAIN, ids=name)
def test_another_kind_does_not_pass(exercise, kind):
    change = DISGUISES[kind]
    changes = []

    def noted(x):
        out = change(x)
        changes.append(out is not None)
        return x if out is None else out

    result = run(exercise, disguised(exercise.solution, noted))
    if not any(changes):
        return  # this change is for integers, or matrices, only
    assert not result, f"{exercise.id} passed although its result is {kind}"
    assert result.status == "failed"
    if "raised" not in result.text and kind != "nearly whole":
        assert "no mistake we know" not in result.text, result.text
