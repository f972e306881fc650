"""Both backward kernels make every tile, in the order the chapter draws."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from minidiff.course.kernels import INTERPRETED
from minidiff.course.kernels.walks import record_walks, show_walks

pytestmark = pytest.mark.skipif(
    not INTERPRETED, reason="only the interpreter sees programs at work"
)


def test_keys_walk_down_from_the_diagonal_and_queries_walk_up_to_it():
    walks = record_walks()
    a, b = np.indices((4, 4))
    seen = a >= b
    assert np.array_equal(walks["keys kernel"], (a - b + 1) * seen)
    assert np.array_equal(walks["queries kernel"], (b + 1) * seen)
    left, right = show_walks(walks).axes
    assert [x.get_text() for x in left.texts].count("") == 6
    assert len(right.texts) == 16
    plt.close("all")
