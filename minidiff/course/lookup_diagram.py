"""Pictures of attention: a lookup step by step, and who looks at whom."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

PLAIN, ASKING = "#CFE2F3", "#FCE0C8"
COLUMNS = {
    "token": 0.0,
    "vector": 1.3,
    "key": 2.7,
    "score": 4.9,
    "weight": 6.4,
    "value": 7.8,
}


def show_lookup(tokens: Sequence[str]) -> Figure:
    """Draw how the last token looks up all tokens, itself included.

    Each row is a token s with its vector x_s, key k_s, score, weight w_s and
    value v_s. The query q of the last token meets all keys.
    """
    last = len(tokens) - 1
    figure, axis = plt.subplots(figsize=(8.2, 0.62 * len(tokens) + 1.5))
    for s, token in enumerate(tokens):
        y, colour = float(last - s), ASKING if s == last else PLAIN
        cells = [token, f"$x_{s}$", f"$k_{s}$", f"$q \\cdot k_{s}$"]
        cells += [f"$w_{s}$", f"$v_{s}$"]
        for x, text in zip(COLUMNS.values(), cells, strict=True):
            _box(axis, x, y, text, colour)
        _arrow(axis, (1.6, y), (2.4, y))
        _arrow(axis, (3.0, y), (4.35, y))
        _arrow(axis, (5.45, y), (6.1, y))
        axis.text(7.1, y, r"$\times$", ha="center", va="center")
        _below(axis, 1.3, 7.8, y)
        _arrow(axis, (8.1, y), (9.1, last / 2))
    _box(axis, 2.7, -1.0, "$q$", ASKING)
    _arrow(axis, (1.5, -0.25), (2.4, -1.0))
    # The query goes up beside the scores, and into each of them.
    axis.plot((3.0, 3.9, 3.9), (-1.0, -1.0, last), "-", color="0.3", lw=1)
    _box(axis, 9.4, last / 2, "$o$", ASKING)
    for x, text in (
        (0.0, "tokens"),
        (1.3, "vectors"),
        (2.7, "keys\n$x_s W_k$"),
        (4.9, "scores"),
        (6.4, "weights,\nsum 1"),
        (7.8, "values\n$x_s W_v$"),
        (9.4, "answer"),
    ):
        axis.text(x, last + 0.55, text, ha="center", va="bottom", fontsize=9)
    query = f"query $x_{last} W_q$"
    axis.text(2.2, -1.35, query, ha="center", va="center", fontsize=9)
    axis.text(5.75, -0.8, "softmax", ha="center", va="center", fontsize=9)
    axis.plot((5.75, 5.75), (-0.6, -0.15), "-", color="0.6", lw=1)
    axis.set(xlim=(-0.7, 9.9), ylim=(-1.6, last + 1.2))
    axis.axis("off")
    return figure


def show_looks(
    tokens: Sequence[str], weights: np.ndarray | Sequence[Sequence[float]]
) -> Figure:
    """Draw a map (T, T), none of it negative, with a row for each token."""
    figure, axis = plt.subplots(figsize=(5.2, 4.3))
    image = axis.imshow(weights, cmap="Oranges", vmin=0, vmax=1)
    axis.set_xticks(range(len(tokens)), tokens, rotation=90)
    axis.set_yticks(range(len(tokens)), tokens)
    axis.set(xlabel="the word it looks at", ylabel="the word that looks")
    axis.grid(False)
    figure.colorbar(image, label="weight")
    return figure


def _below(axis: Axes, start: float, end: float, y: float) -> None:
    """Draw an arrow from x = start to x = end that runs below the row y."""
    low, edge = y - 0.42, y - 0.26
    axis.plot((start, start, end), (edge, low, low), "-", color="0.6", lw=1)
    look = {"arrowstyle": "->", "color": "0.6"}
    axis.annotate("", (end, edge), (end, low), arrowprops=look)


def _box(axis: Axes, x: float, y: float, text: str, colour: str) -> None:
    look = {"boxstyle": "round,pad=0.35", "fc": colour, "ec": "0.3"}
    axis.text(x, y, text, ha="center", va="center", fontsize=10, bbox=look)


def _arrow(
    axis: Axes, start: tuple[float, float], end: tuple[float, float]
) -> None:
    axis.annotate("", end, start, arrowprops={"arrowstyle": "->"}, zorder=0)
