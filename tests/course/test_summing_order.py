"""The order of one sum: nothing else may differ between two trainings."""

import numpy as np

from minidiff.course.summing_order import distances, train


def test_the_same_order_gives_the_same_bits():
    (one, losses), (other, again) = (train(0.4, 0, steps=50) for _ in "ab")
    assert np.array_equal(one, other) and np.array_equal(losses, again)
    assert one.dtype == np.float32 and one.shape == (50, 288)


def test_another_order_changes_the_last_digits_and_no_more():
    fixed, _ = train(0.05, 0, steps=20)
    free, _ = train(0.05, 0, shuffled=True, steps=20)
    gap = distances(fixed, free)
    assert 0 < gap[-1] < 1e-6 and gap.shape == (20,)


def test_each_step_goes_down_the_slope():
    _, losses = train(0.05, 3, steps=100)
    assert (np.diff(losses[:20]) < 0).all() and losses[-1] < losses[0] / 2


def test_the_distance_is_relative():
    one = np.array([[3.0, 4.0], [0.0, 2.0]])
    assert distances(one, 1.5 * one).tolist() == [0.5, 0.5]
