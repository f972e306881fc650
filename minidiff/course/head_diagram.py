"""Diagram of one differential head: from a token's vector to its output."""

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from minidiff.plots import COLOURS

_FIRST, _SECOND, _VALUES = COLOURS[0], COLOURS[1], COLOURS[2]


def show_head() -> Figure:
    """Draw one V1 head: two maps, their difference, the values, the norm.

    Branch 1 is blue, branch 2 orange and the values green. The text in each
    box ends with the shape of what it holds.
    """
    figure, axis = plt.subplots(figsize=(7.6, 3.7))
    boxes = {
        "x": (0, 1.5, "x\n(T, E)", "0.3"),
        "q1": (1.7, 3.5, "$q_1$\n(T, D)", _FIRST),
        "k1": (1.7, 2.6, "$k_1$\n(T, D)", _FIRST),
        "q2": (1.7, 1.5, "$q_2$\n(T, D)", _SECOND),
        "k2": (1.7, 0.6, "$k_2$\n(T, D)", _SECOND),
        "v": (1.7, -0.5, "$v$\n(T, 2D)", _VALUES),
        "A1": (3.4, 3.05, "softmax\n$A_1$ (T, T)", _FIRST),
        "A2": (3.4, 1.05, "softmax\n$A_2$ (T, T)", _SECOND),
        "A": (5.2, 2.05, "$A_1 - \\lambda A_2$\n(T, T)", "0.3"),
        "o": (6.9, 0.8, "times $v$\n(T, 2D)", _VALUES),
        "y": (8.6, 0.8, "norm,\ntimes\n$1 - \\lambda_{init}$", "0.3"),
    }
    for x, y, text, colour in boxes.values():
        _box(axis, x, y, text, colour)
    for start, end in (
        *(("x", name) for name in ("q1", "k1", "q2", "k2", "v")),
        *(("q1", "A1"), ("k1", "A1"), ("q2", "A2"), ("k2", "A2")),
        *(("A1", "A"), ("A2", "A"), ("A", "o"), ("v", "o"), ("o", "y")),
    ):
        _arrow(axis, boxes[start][:2], boxes[end][:2])
    _box(axis, 5.2, 3.3, "$\\lambda$, one a layer", "0.3")
    _arrow(axis, (5.2, 3.3), (5.2, 2.05), gap=0.0)
    for y, name in ((3.95, "branch 1"), (1.95, "branch 2")):
        axis.text(3.4, y, name, ha="center", va="center", fontsize=9)
    axis.set(xlim=(-0.6, 9.4), ylim=(-1.0, 4.1))
    axis.axis("off")
    return figure


def _box(axis: Axes, x: float, y: float, text: str, colour: str) -> None:
    look = {"boxstyle": "round,pad=0.35", "facecolor": "white"}
    axis.text(
        x,
        y,
        text,
        ha="center",
        va="center",
        fontsize=9,
        bbox=look | {"edgecolor": colour, "linewidth": 1.5},
    )


def _arrow(
    axis: Axes,
    start: tuple[float, float],
    end: tuple[float, float],
    gap: float = 0.33,
) -> None:
    """Draw an arrow between two boxes, from right edge to left edge."""
    (x0, y0), (x1, y1) = start, end
    if gap:
        x0, x1 = x0 + gap, x1 - gap - 0.1
    else:
        y0, y1 = y0 - 0.25, y1 + 0.35
    arrow = {"arrowstyle": "->"}
    axis.annotate("", (x1, y1), (x0, y0), arrowprops=arrow, zorder=1)
