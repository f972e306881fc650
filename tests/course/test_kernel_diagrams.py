"""The diagrams of kernels hold what chapters 11 and 12 say of them."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from minidiff.course import kernel_diagrams


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def words(axis):
    return [text.get_text().strip() for text in axis.texts]


def test_a_program_walks_to_the_diagonal():
    (axis,) = kernel_diagrams.show_walk(program=2, blocks=4).axes
    shown = words(axis)
    assert (shown.count("whole"), shown.count("masked")) == (2, 1)
    assert "accumulator 1" in shown
    assert "accumulator 2" in shown


@pytest.mark.parametrize(("rows", "warps"), [(64, 4), (128, 8)])
def test_threads_share_an_accumulator_evenly(rows, warps):
    who = kernel_diagrams.owners(rows, 128, warps)
    threads, counts = np.unique(who, return_counts=True)
    assert threads.tolist() == list(range(32 * warps))
    assert set(counts) == {rows * 128 // (32 * warps)}


def test_a_thread_holds_pairs_of_two_rows():
    rows, columns = np.nonzero(kernel_diagrams.owners(64, 128, 4) == 37)
    assert set(rows) == {17, 25}
    assert set(columns % 8) == {2, 3}


def test_registers_add_up_to_the_limit():
    _, right = kernel_diagrams.show_registers().axes
    counts = [int(text.rpartition(": ")[2]) for text in words(right)]
    assert counts[:3] == [64, 64, 32]
    assert sum(counts) == kernel_diagrams.LIMIT


def test_every_gradient_has_a_place_in_the_backward_pass():
    (axis,) = kernel_diagrams.show_backward().axes
    shown = " ".join(words(axis))
    for name in ("dk_1", "dk_2", "dv", "dq_1", "dq_2", "lambda"):
        assert name in shown
