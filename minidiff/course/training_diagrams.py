"""Diagram of training text: a ribbon of tokens, cut into windows."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from minidiff.plots import COLOURS


def show_ribbon(tokens: Sequence[str], T: int) -> Figure:
    """Draw tokens in a row, and the windows of T inputs cut from it.

    A bracket above the row marks each window of T + 1 tokens. Below the row
    are the inputs of each window, and under each input its target.
    """
    windows = (len(tokens) - 1) // T
    figure, axis = plt.subplots(figsize=(7, 2.6))
    for i, token in enumerate(tokens):
        _cell(axis, i, 0, token, "0.93")
    for w in range(windows):
        first, colour = w * T, COLOURS[w % 2]
        y = 0.65 + 0.2 * (w % 2)  # neighbours share a token
        ends = first - 0.45, first + T + 0.45
        axis.plot(ends, (y, y), color=colour, lw=3, ls="-")
        middle = first + T / 2
        axis.text(middle, y + 0.12, f"window {w}", color=colour, ha="center")
        if w:
            axis.plot([first - 0.5] * 2, (-2.9, -0.7), c="k", lw=3, ls="-")
        for i in range(first, first + T):
            _cell(axis, i, -1.2, tokens[i], "#cfe6f5")
            _cell(axis, i, -2.4, tokens[i + 1], "#f9dcc4")
            arrow = {"arrowstyle": "->", "color": "0.35"}
            axis.annotate("", (i, -2.0), (i, -1.6), arrowprops=arrow)
    for y, name in ((0, "ribbon"), (-1.2, "inputs"), (-2.4, "targets")):
        axis.text(-0.7, y, name, ha="right", va="center")
    axis.set(xlim=(-2, len(tokens) - 0.4), ylim=(-3.0, 1.3))
    axis.axis("off")
    return figure


def _cell(axis: Axes, x: float, y: float, text: str, colour: str) -> None:
    corner = x - 0.5, y - 0.38
    axis.add_patch(Rectangle(corner, 1, 0.76, fc=colour, ec="0.3"))
    axis.text(x, y, text, ha="center", va="center", family="monospace")
