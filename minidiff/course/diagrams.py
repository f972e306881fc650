"""Diagrams that chapters show: a model and its blocks, turning arrows."""

from math import cos, pi, sin

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle

from minidiff.plots import COLOURS


def show_model() -> Figure:
    """Draw a decoder as a chain, and one of its blocks below it."""
    figure, axis = plt.subplots(figsize=(7.2, 3.0))
    arrow = {"arrowstyle": "->", "color": COLOURS[0], "lw": 1.5}
    for y, end in ((2, 6.7), (1, 7.0)):
        axis.annotate("", (end, y), (0, y), arrowprops=arrow, zorder=0)
    for x in (0.6, 3.9):
        branch = [x, x, x + 2.6, x + 2.6], [1, 0, 0, 1]
        axis.plot(*branch, color=COLOURS[0], linestyle="-", zorder=0)
    chain = "tokens,embedding,block 0,block 1,...,norm,head,logits"
    for x, name in enumerate(chain.split(",")):
        _box(axis, x, 2, name)
    for x, name in ((0, "x"), (3.2, "+"), (6.5, "+"), (7.2, "x'")):
        _box(axis, x, 1, name)
    for x, name in (
        (1.2, "norm"),
        (2.4, "attention"),
        (4.5, "norm"),
        (5.7, "SwiGLU"),
    ):
        _box(axis, x, 0, name)
    axis.text(0, 1.45, "one block:", ha="center", va="center")
    axis.set(xlim=(-0.5, 7.5), ylim=(-0.4, 2.4))
    axis.axis("off")
    return figure


def _box(axis: Axes, x: float, y: float, text: str) -> None:
    look = {"boxstyle": "round,pad=0.4", "fc": "white", "ec": "0.3"}
    axis.text(x, y, text, ha="center", va="center", bbox=look)


def show_turned(*places: tuple[int, int], degrees: float = 30.0) -> Figure:
    """Draw a query at position t and a key at s for each pair (t, s).

    Both arrows point to the right at position 0, and turn by ``degrees`` for
    each position. Above each circle is their dot product.
    """
    figure, axes = plt.subplots(
        1, len(places), figsize=(7, 2.6), squeeze=False
    )
    for axis, (t, s) in zip(axes[0], places, strict=True):
        axis.add_patch(Circle((0, 0), 1, fill=False, ec="0.8"))
        for name, position, colour in (("q", t, 0), ("k", s, 1)):
            angle = position * degrees * pi / 180
            end = cos(angle), sin(angle)
            arrow = {"arrowstyle": "-|>", "color": COLOURS[colour], "lw": 2}
            axis.annotate("", end, (0, 0), arrowprops=arrow)
            axis.text(
                1.2 * end[0], 1.2 * end[1], name, ha="center", va="center"
            )
        score = cos((t - s) * degrees * pi / 180)
        axis.set(xlim=(-1.4, 1.4), ylim=(-1.4, 1.4), aspect=1)
        axis.set_title(f"t = {t}, s = {s}\nscore {score:.2f}")
        axis.axis("off")
    return figure
