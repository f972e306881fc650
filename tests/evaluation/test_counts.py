"""Exact test of counts and ranks of times: cases worked out by hand."""

import numpy as np
import pytest

from minidiff.evaluation.counts import fisher_exact, mean_ranks


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ((8, 8, 0, 8), 2 / 12870),  # C(16, 8) tables, the two most extreme
        ((0, 8, 0, 8), 1.0),
        ((4, 6, 2, 6), 1 - 400 / 924),  # all but 3 against 3
        ((3, 3, 0, 1), 1 / 4),  # sides of different sizes
    ],
)
def test_fisher(counts, expected):
    assert fisher_exact(*counts) == pytest.approx(expected, rel=1e-12)
    a, n, b, m = counts
    assert fisher_exact(b, m, a, n) == fisher_exact(*counts)
    assert fisher_exact(n - a, n, m - b, m) == fisher_exact(*counts)


@pytest.mark.parametrize("counts", [(9, 8, 0, 8), (0, 8, -1, 8)])
def test_impossible_counts_are_refused(counts):
    with pytest.raises(ValueError, match="expected 0 to 8"):
        fisher_exact(*counts)


def test_ranks():
    steps = [None, 250, 10_000, None, 750, 10_000]
    expected = [5.5, 1, 3.5, 5.5, 2, 3.5]
    np.testing.assert_array_equal(mean_ranks(steps), expected)
    assert mean_ranks(steps).sum() == 6 * 7 / 2
