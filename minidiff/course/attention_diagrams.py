"""Diagrams of differential attention: a decode step, a layer's stations."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

OLD, NEW = "#CFE2F3", "#FCE0C8"


def _box(axis: Axes, x: float, y: float, text: str, **look: str) -> None:
    style = {"boxstyle": "round,pad=0.4", "facecolor": "white", **look}
    axis.text(x, y, text, ha="center", va="center", fontsize=9, bbox=style)


def _arrow(
    axis: Axes, start: tuple[float, float], end: tuple[float, float]
) -> None:
    axis.annotate("", end, start, arrowprops={"arrowstyle": "->"})


def _bracket(axis: Axes, left: float, right: float, y: float) -> None:
    """Draw a bracket that opens upwards, below a row of boxes."""
    x = (left, left, right, right)
    axis.plot(x, (y + 0.08, y, y, y + 0.08), "-", color="black", linewidth=1)


def show_decode_step(tokens: int = 4) -> Figure:
    """Draw what one V1 head reads for a new token after ``tokens`` others."""
    figure, axis = plt.subplots(figsize=(8, 2.8))
    rows = (
        (2.2, "$k_1$", "keys of branch 1, $D$ wide"),
        (1.1, "$k_2$", "keys of branch 2, $D$ wide"),
        (0.0, "   $v$   ", "values, $2D$ wide"),
    )
    for y, text, name in rows:
        axis.text(-0.6, y, name, ha="right", va="center", fontsize=9)
        for s in range(tokens + 1):
            _box(axis, s, y, text, facecolor=OLD if s < tokens else NEW)
    right = tokens + 1.8  # the queries
    for y, name, down in ((2.2, "$q_1$", 1.8), (1.1, "$q_2$", 1.5)):
        _box(axis, right, y, name, linestyle="--")
        # A query meets all keys of its row, so its arrow ends at a bracket.
        _bracket(axis, -0.4, tokens + 0.4, y - 0.42)
        _arrow(axis, (right - 0.3, y - 0.1), (tokens + 0.45, y - 0.42))
        _arrow(axis, (right + 0.3, y), (right + 1.1, down))
    _box(axis, right + 1.8, 1.65, r"$A_1 - \lambda A_2$")
    _box(axis, right + 1.8, 0, "$o$")
    _arrow(axis, (right + 1.8, 1.3), (right + 1.8, 0.35))
    _bracket(axis, -0.4, tokens + 0.4, -0.42)
    _arrow(axis, (tokens + 0.45, -0.42), (right + 1.5, -0.1))
    for x, name in (
        ((tokens - 1) / 2, "in the cache"),
        (tokens, "new"),
        (right, "used once"),
    ):
        axis.text(x, 2.85, name, ha="center", va="center", fontsize=9)
    axis.set(xlim=(-3.2, right + 2.6), ylim=(-0.6, 3))
    axis.axis("off")
    return figure


def show_stations(below: Mapping[str, str]) -> Figure:
    """Draw one call of a differential layer as a chain of stations.

    ``below`` maps a station to the text below it: "sizes", "q, k, v",
    "shared keys", "scores", "subtraction" or "output"; and "lambda" to the
    text beside it.
    """
    places = {
        "sizes": (0, 2, "sizes\nH, D, Dv"),
        "q, k, v": (1, 2, "q, k, v\nfrom x"),
        "shared keys": (2, 2, "keys shared\nby heads"),
        "scores": (3, 2, "scores,\nsoftmax"),
        "subtraction": (4, 2, r"$A_1 - \lambda A_2$"),
        "output": (5, 2, "times v,\nnorm, output"),
        "lambda": (4, 3.1, r"$\lambda$"),
    }
    figure, axis = plt.subplots(figsize=(8, 2.7))
    for name, (x, y, text) in places.items():
        _box(axis, x, y, text, facecolor=OLD)
        label = axis.text(x, y - 0.4, below.get(name, ""), ha="center")
        label.set(color="#A63D00", fontsize=8.5, va="top")
        if name == "lambda":  # beside the box, as its arrow goes down
            label.set(position=(x + 0.3, y), ha="left", va="center")
        if x > 0 and y == 2:
            _arrow(axis, (x - 0.6, y), (x - 0.42, y))
    _arrow(axis, (4, 2.85), (4, 2.28))
    axis.set(xlim=(-0.5, 5.6), ylim=(0.8, 3.4))
    axis.axis("off")
    return figure
