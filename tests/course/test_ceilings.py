"""The counts of chapter 13 agree with its exercise and with the records."""

import json

import pytest

from minidiff.check.ex13.intensity import intensity
from minidiff.course import results
from minidiff.course.ceilings import least_ms, work


@pytest.mark.parametrize("T", [64, 4096])
def test_forward_is_half_of_the_exercise_without_a_mask(T):
    flops, moved, powers = work("forward", 2, 16, T, 64)
    assert flops / moved == intensity(T, T, 64, 16, 16, 2) / 2
    assert flops / powers == 6 * 64


def test_a_decoding_step_is_the_exercise_without_its_query():
    flops, moved, _ = work("decode", 1, 16, 4096, 64)
    assert flops / moved == 1.5
    assert intensity(1, 4096, 64, 16, 16, 2) == pytest.approx(1.5, rel=1e-3)


def test_both_passes_are_the_sum_of_the_two_and_what_is_kept():
    for D in (64, 128):
        sizes = 1, 16, 1024, D
        forward, backward, both = (
            work(what, *sizes) for what in ("forward", "backward", "train")
        )
        assert both[0] == forward[0] + backward[0]
        assert both[1] == forward[1] + backward[1] + 2 * forward[1] / 4
        assert both[2] == forward[2] + backward[2]


def test_no_recorded_kernel_is_faster_than_its_ceilings():
    rows = json.loads(results("bench_attention.json").read_text())["rows"]
    ours = [r for r in rows if r["peer"] == "diff/triton"]
    assert ours
    for r in ours:
        for what in ("forward", "train"):
            low = least_ms(what, r["B"], r["H"], r["T"], r["D"]).max()
            assert low < r[what + "_ms"]
