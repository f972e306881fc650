"""What chapter 13 says of the record in words holds of the record."""

import matplotlib.pyplot as plt
import pytest

from minidiff.course.recorded import Attention, show_floors, show_ratios


@pytest.fixture(scope="module")
def record():
    return Attention()


def test_every_ratio_has_a_mark(record):
    assert len(record.sizes) == 6
    for show, lines in ((show_floors, 13), (show_ratios, 4)):
        figure = show(record)
        assert [len(axis.lines) for axis in figure.axes] == [lines] * 2
        plt.close(figure)


def test_a_peer_that_cannot_run_takes_for_ever(record):
    assert record.ms("diff2/flash", "forward", 64, 4096) == float("inf")


def test_long_sequences_are_fastest_with_ours_and_plain_is_ahead(record):
    found = record.ratios()
    long = [i for i, (_, T) in enumerate(record.sizes * 2) if T > 1024]
    assert all(found["best other DIFF"][i] > 1 for i in long)
    assert all(x < 1 for x in found["plain, cuDNN"])


def test_padding_with_zeros_is_slower_and_has_the_higher_rate(record):
    padded, plain = (
        record.ms("diff2/" + p, "forward", 64, 16384)
        for p in ("cudnn-pad", "cudnn")
    )
    assert padded > plain
    assert 8 / padded > 6 / plain
