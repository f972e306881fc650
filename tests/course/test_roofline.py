"""Each call is drawn below its machine's roof."""

import matplotlib.pyplot as plt
import numpy as np

from minidiff.course.roofline import show_roofs


def test_dots_lie_on_slope_and_roof():
    # The ridge of the machine is at 10 FLOPs a byte.
    figure = show_roofs({"m": (1e12, 1e11)}, {"low": 1.0, "high": 100.0})
    axis = figure.axes[0]
    roof, dots = axis.lines[:2]
    assert dots.get_xdata().tolist() == [1, 100]
    assert np.allclose(dots.get_ydata(), [100, 1000])  # GFLOP/s
    assert 10 in roof.get_xdata() and max(roof.get_ydata()) == 1000
    assert {t.get_text() for t in axis.texts} == {"low", "high"}
    plt.close(figure)


def test_a_label_stands_above_the_lowest_roof():
    roofs = {"big": (1e15, 1e12), "small": (1e10, 1e10)}
    figure = show_roofs(roofs, {"x": 5.0})
    (label,) = figure.axes[0].texts
    assert 10 < label.get_position()[1] < 1e6
    plt.close(figure)
