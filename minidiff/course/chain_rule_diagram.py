"""Diagram of the chain rule: the paths from one score to the loss."""

from fractions import Fraction

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from minidiff.plots import COLOURS


def show_paths() -> Figure:
    """Draw the three paths from a score through its softmax to the loss.

    The row has the weights 1/2, 1/4, 1/4. The slopes on the left are those
    of each weight for the first score, those on the right of the loss for
    each weight.
    """
    figure, axis = plt.subplots(figsize=(6.4, 2.9))
    weights = [Fraction(1, 2), Fraction(1, 4), Fraction(1, 4)]
    moved = [weights[0] * ((i == 0) - A) for i, A in enumerate(weights)]
    given = [Fraction(2), Fraction(1), Fraction(0)]
    for i, (left, right) in enumerate(zip(moved, given, strict=True)):
        y = 2.2 - 1.1 * i
        _arrow(axis, (0.3, 1.1), (2.65, y), str(left))
        _arrow(axis, (3.35, y), (5.7, 1.1), str(right))
        _box(axis, 3, y, f"$A_{i + 1}$", COLOURS[0])
    total = sum(a * b for a, b in zip(moved, given, strict=True))
    _box(axis, 0, 1.1, "$x_1$", COLOURS[1])
    _box(axis, 6, 1.1, "$L$", COLOURS[2])
    axis.text(3, -0.75, f"slope of $L$ for $x_1$: {total}", ha="center")
    axis.set(xlim=(-0.5, 6.5), ylim=(-1, 2.6))
    axis.axis("off")
    return figure


def _box(axis: Axes, x: float, y: float, text: str, colour: str) -> None:
    look = {"boxstyle": "round,pad=0.35", "facecolor": "white"}
    edge = {"edgecolor": colour, "linewidth": 1.5}
    axis.text(x, y, text, ha="center", va="center", bbox=look | edge)


def _arrow(
    axis: Axes, start: tuple[float, float], end: tuple[float, float], text: str
) -> None:
    """Draw an arrow with its slope in the middle."""
    axis.annotate("", end, start, arrowprops={"arrowstyle": "->"}, zorder=1)
    x, y = (start[0] + end[0]) / 2, (start[1] + end[1]) / 2
    look = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
    axis.text(x, y, text, ha="center", va="center", bbox=look)
