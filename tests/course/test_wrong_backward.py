"""The wrong backward passes are wrong by as much as chapter 12 says."""

from minidiff.course.wrong_backward import WAYS, dq_errors


def test_the_right_way_is_right_to_float16():
    assert dq_errors(0.0)["as built"] < 1e-3


def test_small_mistakes_show_only_far_out():
    near, far = dq_errors(0.0), dq_errors(30.0)
    small = "lambda delta_2 for delta_1", "deltas before rounding"
    for name in small:
        assert near[name] < 2 * near["as built"]
        assert far[name] > 1.2 * far["as built"]
    for name in set(WAYS) - {"as built", *small}:
        assert near[name] > 0.2
    assert far["no deltas"] > near["no deltas"]
