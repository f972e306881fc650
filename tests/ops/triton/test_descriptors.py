"""Descriptors: made from an earlier one, they are as if made anew."""

import gc
import weakref

import cases  # noqa: F401  (it turns Triton's interpreter on)
import pytest
import torch

from minidiff.ops.triton import descriptors
from minidiff.ops.triton.descriptors import block_of


@pytest.fixture(autouse=True)
def nothing_checked(monkeypatch):
    monkeypatch.setattr(descriptors, "_checked", {})


def test_a_second_one_differs_in_its_tensor_alone():
    x, y = torch.zeros(2, 3, 2, 40, 16), torch.ones(2, 3, 2, 40, 16)
    block_of(x, True, 32, 16)
    made = block_of(y, True, 32, 16)
    descriptors._checked.clear()
    anew = block_of(y, True, 32, 16)
    assert made.base is anew.base is y
    rest = [{**vars(d), "base": None} for d in (made, anew)]
    assert rest[0] == rest[1]
    assert type(made) is type(anew)


@pytest.mark.parametrize(
    "other",
    [
        torch.zeros(2, 3, 2, 41, 16),
        torch.zeros(2, 3, 2, 16, 40).mT.contiguous().transpose(0, 1)[:2],
        torch.zeros(2, 2, 3, 40, 16).transpose(1, 2),
        torch.zeros(2, 3, 2, 40, 16, dtype=torch.float16),
    ],
    ids=["shape", "order", "strides", "dtype"],
)
def test_another_layout_gets_its_own(other):
    block_of(torch.zeros(2, 3, 2, 40, 16), True, 32, 16)
    made = block_of(other, True, 32, 16)
    assert made.shape == list(other.shape)
    assert made.strides == descriptors.steps(other)
    assert made.base is other


def test_another_block_gets_its_own():
    x = torch.zeros(2, 3, 2, 40, 16)
    assert block_of(x, True, 32, 16).block_shape == [1, 1, 1, 32, 16]
    assert block_of(x, True, 64, 16).block_shape == [1, 1, 1, 64, 16]


def test_no_tensor_is_kept():
    x = torch.zeros(1, 1, 2, 40, 16)
    block_of(x, True, 32, 16)
    block_of(x, True, 32, 16)
    gone = weakref.ref(x)
    del x
    gc.collect()
    assert gone() is None and descriptors._checked


def test_what_is_remembered_is_bounded(monkeypatch):
    monkeypatch.setattr(descriptors, "MOST_CHECKED", 3)
    for T in range(1, 10):
        block_of(torch.zeros(1, 1, 2, T, 16), True, 32, 16)
    assert len(descriptors._checked) <= 3
