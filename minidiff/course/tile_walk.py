"""Diagram of flash attention: one block of queries walks along the keys."""

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

DONE, NOW, NEXT = "#CFE2F3", "#FCE0C8", "white"


def _tile(
    axis: Axes, x: float, y: float, width: float, text: str, colour: str
) -> None:
    box = Rectangle((x, y), width, 0.8, facecolor=colour, edgecolor="0.3")
    axis.add_patch(box)
    axis.text(x + width / 2, y + 0.4, text, ha="center", va="center", size=9)


def show_tile_walk(step: int = 2, blocks: int = 4) -> Figure:
    """Draw the walk of query block 1 in the step that takes keys ``step``."""
    figure, axis = plt.subplots(figsize=(7.4, 2.9))
    for s in range(blocks):
        colour = NOW if s == step else DONE if s < step else NEXT
        _tile(axis, s, 3.2, 0.9, f"$k_{s}$, $v_{s}$", colour)
        for t in range(3):
            mine = colour if t == 1 else NEXT
            _tile(axis, s, 2 - t, 0.9, "tile" if t == 1 else "", mine)
    for t in range(3):
        _tile(axis, -1.3, 2 - t, 0.9, f"$q_{t}$", NOW if t == 1 else NEXT)
    end = blocks - 0.1
    _tile(axis, end + 0.9, 1, 1.6, "$m$, $z$, $u$", NOW)
    _tile(axis, end + 3.1, 1, 1.7, r"$u\,/\,z$ and $\ell$", NEXT)
    arrow = {"arrowstyle": "->", "color": "0.2"}
    for left, right in ((0.05, 0.85), (2.55, 3.05)):
        start = end + left, 1.4
        axis.annotate("", (end + right, 1.4), start, arrowprops=arrow)
    axis.annotate("", (blocks - 0.1, -0.25), (0, -0.25), arrowprops=arrow)
    axis.text(0, -0.6, "a program walks along the keys", size=9)
    axis.text(end + 0.9, 2.05, "kept for each row", size=9)
    axis.text(end + 3.1, 2.05, "stored at the end", size=9)
    axis.set(xlim=(-1.5, end + 5), ylim=(-0.8, 4.1))
    axis.axis("off")
    return figure
