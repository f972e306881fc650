"""Answers of another kind than the solution's do not pass by their values."""

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from types import FunctionType

import numpy as np
import pytest
import torch

from minidiff import check
from minidiff.check.core import Case
from minidiff.check.core import check as run
from tests.check.test_checks import (
    EX,
    EXERCISES,
    INTERPRETED,
    SETS,
    name,
    remembered,
)


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

    answer = disguised(exercise.solution, noted)
    result = run(exercise, answer, known=remembered)
    if not any(changes):
        return  # this change is for integers, or matrices, only
    assert not result, f"{exercise.id} passed although its result is {kind}"
    assert result.status == "failed"
    if "raised" not in result.text and kind != "nearly whole":
        assert "no mistake we know" not in result.text, result.text


def exercise(solution, *args, **other):
    """An exercise of one case, without known mistakes."""
    case = Case(name="one", args=args)
    return replace(
        EX, cases=lambda: [case], solution=solution, mistakes=(), **other
    )


@pytest.mark.parametrize(
    ("right", "wrong", "says"),
    [
        (1.5, "1.5", "got       text, expected a number"),
        (1.5, b"1.5", "got       a bytes, expected a number"),
        (1.5, [1.5], "got       a list, expected a number"),
        (1.5, None, ""),
        (1.5, Fraction(3, 2), "a Fraction, expected a number"),
        (1.5, Decimal("1.5"), "a Decimal, expected a number"),
        (1.5, np.array([1.5]), "an array, expected a number"),
        (1.5, np.ma.masked, "a MaskedConstant, expected a number"),
        (2, 2.0, "got       real numbers, expected integers"),
        (2, True + 1j, "got       complex numbers, expected integers"),
        (True, 1, "got       integers, expected booleans"),
        (1, True, "got       booleans, expected integers"),
        (10**30, 10**30 + 1, f"got       {10**30 + 1}"),
        (2**53, 2**53 + 1, f"got       {2**53 + 1}"),
        ([1, 2], (1, 2), "got       2 results, expected 1"),
        ([1, 2], np.array([1, 2]), "an array, expected a list"),
        ([1, 2], [], "got       shape (0,), expected (2,)"),
        ([1, 2], [1, "2"], "list of other things than numbers"),
        (np.ones(2), (np.ones(2),), "returned  tuple"),
        (np.ones(2), torch.ones(2).double(), "a tensor, expected an array"),
        (torch.ones(2), np.ones(2, "f4"), "an array, expected a tensor"),
        (torch.ones(2), torch.ones(2).to_sparse(), "without plain values"),
        (torch.ones(2), torch.ones(2, device="meta"), "without plain values"),
        (np.ones(2), np.array([1, np.nan]), "not finite 1 of 2 numbers"),
        (np.ones(2), np.array([1, np.inf]), "not finite 1 of 2 numbers"),
        ("a", "b", "got       'b'"),
        (b"a", b"a\0", r"got       b'a\x00'"),
        ("a", b"a", "a bytes, expected text"),
    ],
)
def test_what_an_answer_of_another_kind_is_told(right, wrong, says):
    result = run(exercise(lambda: right), lambda: wrong)
    assert not result
    assert says in result.text


@pytest.mark.parametrize(
    ("right", "other"),
    [
        (1.5, np.float32(1.5)),
        (1.5, torch.tensor(1.5)),
        (1.5, np.array(1.5)),
        (2.0, 2),
        (2, np.int32(2)),
        (np.ones(2), np.ones(2, int)),
        (10**30, 10**30),
        ("a", "a"),
        ([], []),
        ([torch.ones(2)], [torch.ones(2, requires_grad=True)]),
        (torch.ones(2), torch.nn.Parameter(torch.ones(2))),
        (np.array([np.inf, -np.inf]), np.array([np.inf, -np.inf])),
    ],
)
def test_what_is_the_same_in_kind(right, other):
    assert run(exercise(lambda: right), lambda: other)


def test_results_as_a_list_are_told_from_several():
    result = run(exercise(lambda: (1.0, 2.0)), lambda: [1.0, 2.0])
    assert "got       a list, expected 2 results" in result.text


@pytest.mark.parametrize(
    ("given", "spoil"),
    [
        ([1, 2], lambda x: x.append(3)),
        ([1, 2], lambda x: x.append(x)),
        ({"a": np.ones(2)}, lambda x: x["a"].fill(0)),
        ({"a": 1}, lambda x: x.clear()),
        ([np.ones(2)], lambda x: x.__setitem__(0, np.ones(3))),
        ([[1], [2]], lambda x: x[1].pop()),
        (torch.ones(2), lambda x: x.zero_()),
        (np.array([np.nan]), lambda x: x.fill(0)),
    ],
)
def test_a_changed_argument_is_told(given, spoil):
    def answer(x):
        spoil(x)
        return 1.0

    result = run(exercise(lambda x: 1.0, given), answer)
    assert "your function changed an argument" in result.text
    assert "no mistake we know" not in result.text
    assert run(exercise(lambda x: 1.0, given), lambda x: 1.0)
