"""The meter counts what can be counted by hand."""

import pytest
import torch

from minidiff.bench import variants
from minidiff.bench.peak_memory import Meter


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_by_hand(device):
    x = torch.zeros(10, device=device)  # 40 bytes, made before
    with Meter() as meter:
        y = x + 1  # reads 40, makes 40
        z = y.view(2, 5).mT  # nothing
        w = z.double() + z.double()  # twice 40 to 80, then 160 to 80
        del w
        y += 1  # in place: nothing is made, 40 read and 40 written
        x.unsqueeze_(0)  # a view in place moves nothing either
    assert meter.largest == 80
    assert meter.peak == 40 + 3 * 80
    assert meter.moved == 80 + 2 * 120 + 240 + 80
    assert meter.alive == 40
    del y, z
    assert meter.alive == 0


def test_two_outputs_and_views_of_one_storage_count_once():
    x = torch.zeros(2, 8)
    with Meter() as meter:
        halves = torch.cat([x, x]).chunk(2)
        values, places = x.max(-1)
    assert meter.largest == 128
    assert meter.alive == 2 * 4 + 2 * 8 + 128
    del values, places, halves
    assert meter.alive == 0


def test_backward_is_seen():
    x = torch.ones(100, requires_grad=True)
    with Meter() as meter:
        x.exp().sum().backward()
    assert meter.peak >= 800 and meter.alive == 400  # x.grad
    assert x.grad is not None


def test_naive_keeps_maps_and_meta_agrees_with_cpu():
    peaks = []
    for device in ("cpu", "meta"):
        q, k = torch.randn(2, 1, 2, 2, 32, 4, device=device)
        v = torch.randn(1, 2, 32, 8, device=device)
        with Meter() as meter:
            variants.naive(q, k, v, 0.5)
        peaks.append(meter.peak)
    assert peaks[0] == peaks[1]
    assert peaks[0] > 6 * 2 * 32 * 32 * 4
