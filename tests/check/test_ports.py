"""The ports of chapter 08: one is right, ten are wrong, all of one shape."""

import pytest
import torch

from minidiff import MultiheadDiffAttention
from minidiff.check.ex08 import ports

X, _ = ports.task()


@pytest.mark.parametrize("sizes", [(4, 4, 0), (4, 2, 3), (4, 1, 7)])
def test_the_right_port_is_the_module(sizes):
    want = ports.build(MultiheadDiffAttention, *sizes)(X)
    got = ports.build(ports.Port, *sizes)(X)
    torch.testing.assert_close(got, want, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", ports.WRONG, ids=lambda kind: kind.__name__)
def test_a_wrong_port_is_wrong_and_looks_right(kind):
    want = ports.build(ports.Port)(X)
    got = ports.build(kind)(X)
    assert got.shape == want.shape
    assert got.isfinite().all()
    assert (got - want).norm() > 0.05 * want.norm()
    losses = ports.train(ports.build(kind))
    assert losses[-1] < losses[0] * 2 / 3


def test_a_wrong_port_can_learn_better():
    right = ports.train(ports.build(ports.Port))[-1]
    wrong = ports.train(ports.build(ports.TorchGroupNorm))[-1]
    assert wrong < right - 0.02
