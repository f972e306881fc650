"""Diagram of a launch: programs, their blocks of offsets, and the mask."""

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from minidiff.plots import COLOURS

FILLS = "#CFE2F3", "#FCE0C8", "#D5EFE3", "#F2D3E4"


def show_blocks(n: int = 10, size: int = 4) -> Figure:
    """Draw n elements in memory, and the programs that take ``size`` each.

    Squares behind the last element belong to others and are dashed. Above
    each block stand its program and its offsets, below each square its mask.
    """
    programs = -(-n // size)
    figure, axis = plt.subplots(figsize=(7.4, 2.3))
    for i in range(programs):
        left, fill = i * size, FILLS[i % len(FILLS)]
        middle = left + size / 2
        axis.hlines(1.25, left + 0.1, left + size - 0.1, color="0.4")
        axis.text(middle, 1.95, f"program {i}", ha="center", weight="bold")
        offsets = f"o_n = {left} + arange(0, {size})"
        axis.text(middle, 1.45, offsets, ha="center", size=9)
        for o in range(left, left + size):
            there = o < n
            square = Rectangle((o, 0), 1, 1, fc="white", ec="0.3", ls="--")
            if there:
                square.set(facecolor=fill, linestyle="-")
            axis.add_patch(square)
            axis.text(o + 0.5, 0.5, str(o), ha="center", va="center")
            axis.text(o + 0.5, -0.45, str(there), ha="center", size=8)
    axis.text(-0.3, -0.45, f"o_n < {n}:", ha="right", size=9)
    axis.text(-1.1, 0.5, "p_x", ha="right", va="center", color=COLOURS[1])
    axis.annotate(
        "", (0, 0.5), (-1.0, 0.5),
        arrowprops={"arrowstyle": "->", "color": COLOURS[1]},
    )  # fmt: skip
    axis.set(xlim=(-1.9, programs * size + 0.2), ylim=(-0.6, 2.4))
    axis.axis("off")
    return figure
