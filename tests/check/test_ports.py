"""The ports of chapter 08: one right, the others wrong but of equal shape."""

import pytest
import torch

from minidiff import MultiheadDiffAttention
from minidiff.check.compare import source_of
from minidiff.check.ex08 import ports

X, _ = ports.task()
EACH_WRONG = pytest.mark.parametrize(
    "kind", ports.WRONG, ids=lambda kind: kind.__name__
)


@pytest.mark.parametrize("sizes", [(4, 4, 0), (4, 2, 3), (4, 1, 7)])
def test_the_right_port_is_the_module(sizes):
    want = ports.build(MultiheadDiffAttention, *sizes)(X)
    got = ports.build(ports.Port, *sizes)(X)
    torch.testing.assert_close(got, want, rtol=0, atol=1e-12)


@EACH_WRONG
def test_a_wrong_port_is_wrong_and_looks_right(kind):
    want = ports.build(ports.Port)(X)
    got = ports.build(kind)(X)
    assert got.shape == want.shape
    assert got.isfinite().all()
    assert (got - want).norm() > 0.05 * want.norm()
    losses = ports.train(ports.build(kind))
    assert losses[-1] < losses[0] * 2 / 3


@EACH_WRONG
def test_a_slip_changes_one_place_of_the_right_port(kind):
    for right, _ in ports.WRONG[kind].changes:
        assert source_of(ports.Port).count(right) == 1
    for right, wrong in ports.changed_lines(kind):
        assert right != wrong
        assert right in map(str.strip, source_of(ports.Port).splitlines())


def test_halves_is_a_right_layer_for_queries_in_another_order():
    halves, port = ports.build(ports.Halves), ports.build(ports.Port)
    H, _, D = port.q_shape
    rows = halves.q_proj.weight.data.unflatten(0, (2, H, D))
    port.q_proj.weight.data = rows.transpose(0, 1).flatten(0, 2)
    torch.testing.assert_close(port(X), halves(X), rtol=0, atol=1e-12)


def test_a_wrong_port_can_learn_better():
    right = ports.train(ports.build(ports.Port))[-1]
    for kind in (ports.TorchGroupNorm, ports.HeadsKept):
        assert ports.train(ports.build(kind))[-1] < right - 0.02
