"""Diagrams of a GPU: the way of a number to a program, and a pipeline."""

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

FAR, NEAR, BUSY = "#E6E6E6", "#CFE2F3", "#FCE0C8"


def _box(
    axis: Axes,
    corner: tuple[float, float],
    size: tuple[float, float],
    text: str,
    colour: str,
) -> None:
    """Draw a rectangle from its lower left corner, with text inside."""
    axis.add_patch(Rectangle(corner, *size, facecolor=colour, edgecolor="0.3"))
    x, y = corner[0] + size[0] / 2, corner[1] + size[1] / 2
    axis.text(x, y, text, ha="center", va="center", fontsize=8.5)


def _arrow(axis: Axes, left: float, right: float, y: float) -> None:
    look = {"arrowstyle": "<->", "color": "0.2"}
    axis.annotate("", (right, y), (left, y), arrowprops=look)


def show_gpu() -> Figure:
    """Draw main memory, L2 cache, and a multiprocessor with two programs."""
    figure, axis = plt.subplots(figsize=(7.4, 3.1))
    _box(axis, (0, 0.2), (1.5, 2.6), "main\nmemory:\n\ntensors", FAR)
    _box(axis, (2.1, 0.2), (1.4, 2.6), "L2 cache:\n\nshared by all", FAR)
    for shift in (0.24, 0.12, 0):  # more of them stand behind
        _box(axis, (4.1 + shift, shift), (6.1, 3), "", "white")
    _box(axis, (4.3, 0.2), (1.5, 2.3), "shared\nmemory:\n\nblocks", NEAR)
    for y, name in ((1.4, "A"), (0.2, "B")):
        axis.text(6.4, y + 0.96, f"program {name}: 4 warps", fontsize=8.5)
        for i in range(4):
            text = f"warp {i}\nregisters\n+, ×"
            _box(axis, (6.4 + 0.93 * i, y), (0.87, 0.88), text, BUSY)
    axis.text(4.3, 2.67, "one multiprocessor of 132", fontsize=8.5)
    _arrow(axis, 1.5, 2.1, 1.5)
    _arrow(axis, 3.5, 4.1, 1.5)
    for y in (1.8, 0.6):
        _arrow(axis, 5.8, 6.4, y)
    axis.set(xlim=(-0.1, 10.6), ylim=(-0.1, 3.4))
    axis.axis("off")
    return figure


def show_stages() -> Figure:
    """Draw three steps of a loop, without and with loads ahead."""
    figure, axis = plt.subplots(figsize=(7.4, 2.2))
    for top, name, ahead in ((3, "one stage", False), (1, "two stages", True)):
        axis.text(-0.2, top, name, ha="right", va="center", fontsize=9)
        for i in range(3):
            load = i if ahead else 2 * i
            _box(axis, (load, top), (1, 0.7), f"load {i}", NEAR)
            _box(axis, (load + 1, top - 0.7), (1, 0.7), f"compute {i}", BUSY)
    axis.annotate("", (6, -0.2), (0, -0.2), arrowprops={"arrowstyle": "->"})
    axis.text(6.1, -0.2, "time", va="center", fontsize=9)
    axis.set(xlim=(-1.4, 6.8), ylim=(-0.4, 3.9))
    axis.axis("off")
    return figure
