"""Diagrams show what their chapters say they show."""

import matplotlib.pyplot as plt
import pytest

from minidiff.course import diagrams


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def words(axis):
    return [text.get_text() for text in axis.texts if text.get_text()]


def test_the_model_has_its_parts_in_order():
    (axis,) = diagrams.show_model().axes
    shown = words(axis)
    assert shown[:3] == ["tokens", "embedding", "block 0"]
    assert shown[5:8] == ["norm", "head", "logits"]
    below = [x for x in axis.texts if x.get_position()[1] == 0]
    below = sorted(below, key=lambda x: x.get_position()[0])
    assert [x.get_text() for x in below] == [
        "norm", "attention", "norm", "SwiGLU"
    ]  # fmt: skip


def test_the_score_depends_on_the_distance_only():
    axes = diagrams.show_turned((3, 1), (8, 6), (3, 0), degrees=45.0).axes
    titles = [axis.get_title() for axis in axes]
    assert titles == [
        "t = 3, s = 1\nscore 0.00",
        "t = 8, s = 6\nscore 0.00",
        "t = 3, s = 0\nscore -0.71",
    ]
    # The angle of each arrow, and the one between the two.
    assert [sorted(words(axis)) for axis in axes] == [
        ["90°", "k: 45°", "q: 135°"],
        ["90°", "k: 270°", "q: 360°"],
        ["135°", "k: 0°", "q: 135°"],
    ]
    end = axes[1].texts[0].xy  # the query has gone once around
    assert end == pytest.approx((1, 0))
