"""Diagrams that chapters show: a model and its blocks, turning arrows."""

from math import cos, pi, sin

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Arc, Circle, Rectangle

from minidiff.plots import COLOURS

# What a box computes decides its colour.
_FILLS = {
    "embedding": "#e5d5ee",
    "head": "#e5d5ee",
    "norm": "#fbeeb5",
    "attention": "#bfdff3",
    "SwiGLU": "#f7d3ba",
    "block 0": "#c4e8d8",
    "block 1": "#c4e8d8",
    "...": "#c4e8d8",
}


def show_model() -> Figure:
    """Draw a decoder as a chain, and one of its blocks below it."""
    figure, axis = plt.subplots(figsize=(7.6, 3.9))
    arrow = {"arrowstyle": "-|>", "color": "0.2", "lw": 2}
    for y, end in ((2, 6.65), (1, 6.95)):
        axis.annotate("", (end, y), (0, y), arrowprops=arrow, zorder=0)
    for x in (0.6, 3.9):
        branch = [x, x, x + 2.6, x + 2.6], [1, 0, 0, 0.85]
        axis.plot(*branch, color=COLOURS[0], lw=2, linestyle="-", zorder=0)
        tip = {"arrowstyle": "-|>", "color": COLOURS[0], "lw": 2}
        axis.annotate("", (x + 2.6, 0.88), (x + 2.6, 0.5), arrowprops=tip)
    for x, corner in ((1.65, -0.45), (2.35, 7.5)):  # the block, enlarged
        ends = (x, corner), (1.83, 1.35)
        axis.plot(*ends, color="0.5", lw=1, linestyle="--", zorder=0)
    frame = Rectangle((-0.45, -0.35), 7.95, 1.7, fc="#f1faf6", ec="0.5")
    axis.add_patch(frame).set(zorder=-1, linestyle="--")
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
    for x, shape in ((0, "(B, T)"), (1, "(B, T, E)"), (7, "(B, T, V)")):
        axis.text(x, 2.3, shape, ha="center", fontsize=9, color="0.3")
    axis.text(3.9, 1.13, "the residual stream", ha="left", color="0.2")
    axis.set(xlim=(-0.55, 7.6), ylim=(-0.4, 2.5))
    axis.axis("off")
    return figure


def _box(axis: Axes, x: float, y: float, text: str) -> None:
    fill = _FILLS.get(text, "white")
    look = {"boxstyle": "round,pad=0.45", "fc": fill, "ec": "0.2", "lw": 1.2}
    axis.text(x, y, text, ha="center", va="center", bbox=look)


def show_turned(*places: tuple[int, int], degrees: float = 30.0) -> Figure:
    """Draw a query at position t and a key at s for each pair (t, s).

    Both arrows point to the right at position 0, and turn by ``degrees`` for
    each position. At each tip is the angle it was turned by, between the
    arrows the difference. Above each circle is their dot product.
    """
    figure, axes = plt.subplots(
        1, len(places), figsize=(7.6, 2.5), squeeze=False
    )
    for axis, (t, s) in zip(axes[0], places, strict=True):
        axis.add_patch(Circle((0, 0), 1, fill=False, ec="0.6"))
        for name, position, colour in (("q", t, 0), ("k", s, 1)):
            angle = position * degrees * pi / 180
            end = cos(angle), sin(angle)
            arrow = {"arrowstyle": "-|>", "color": COLOURS[colour], "lw": 2}
            axis.annotate("", end, (0, 0), arrowprops=arrow)
            name = f"{name}: {position * degrees:.0f}°"
            at = 1.45 * end[0], 1.18 * end[1]
            axis.text(*at, name, ha="center", va="center")
        first, last = sorted((t * degrees, s * degrees))
        axis.add_patch(Arc((0, 0), 0.7, 0.7, theta1=first, theta2=last))
        middle = (t + s) / 2 * degrees * pi / 180
        spot = 0.6 * cos(middle), 0.6 * sin(middle)
        axis.text(*spot, f"{last - first:.0f}°", ha="center", va="center")
        score = cos((t - s) * degrees * pi / 180)
        axis.set(xlim=(-1.75, 1.75), ylim=(-1.3, 1.3), aspect=1)
        axis.set_title(f"t = {t}, s = {s}\nscore {score:.2f}")
        axis.axis("off")
    return figure
