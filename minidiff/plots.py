"""The look of the book's figures, and the picture of attention maps."""

import os
from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Okabe and Ito's palette, told apart by people who see few colours; each
# colour comes with a line style of its own, for print and for the rest.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#000000")
LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 3)))


def use_style() -> None:
    """Set the book's look: an opaque white ground, readable on dark pages."""
    plt.rcParams.update(
        {
            "figure.figsize": (6.0, 3.2),
            "figure.dpi": 110,
            "figure.facecolor": "white",
            "figure.constrained_layout.use": True,
            "savefig.facecolor": "white",
            "axes.grid": True,
            "axes.prop_cycle": cycler(color=COLOURS) + cycler(linestyle=LINES),
            "axes.spines.right": False,
            "axes.spines.top": False,
            "grid.alpha": 0.3,
            "font.size": 10,
            "legend.frameon": False,
        }
    )


def show_maps(
    maps: Sequence[np.ndarray], titles: Sequence[str], *, limit: float = 0.0
) -> tuple[Figure, np.ndarray]:
    """Draw attention maps (T, S) side by side on one signed colour scale.

    Orange is positive, purple negative, white zero. ``limit`` is the weight at
    which the colour is full; the largest absolute weight if zero.
    """
    if len(maps) != len(titles):
        raise ValueError(
            f"titles: got {len(titles)}, expected {len(maps)}, one for each "
            "map"
        )
    limit = limit or max(float(np.abs(m).max()) for m in maps)
    width = 2.4 * len(maps) + 0.6
    figure, axes = plt.subplots(
        1, len(maps), figsize=(width, 2.7), squeeze=False
    )
    for axis, weights, title in zip(axes[0], maps, titles, strict=True):
        image = axis.imshow(weights, cmap="PuOr_r", vmin=-limit, vmax=limit)
        axis.set(title=title, xlabel="key")
        axis.grid(False)
    axes[0, 0].set_ylabel("query")
    figure.colorbar(image, ax=axes[0], shrink=0.8, label="weight")
    return figure, axes[0]


def curves_with_band(
    axis: Axes, x: np.ndarray, runs: np.ndarray, label: str
) -> None:
    """Draw the mean of several runs (runs, len(x)) and their full range."""
    (line,) = axis.plot(x, runs.mean(0), label=label)
    axis.fill_between(
        x, runs.min(0), runs.max(0), color=line.get_color(), alpha=0.2, lw=0
    )


def save_figure(figure: Figure, path: str | Path) -> Path:
    """Write the figure as a PNG file, whole or not at all; return its path."""
    path = Path(path)
    unfinished = path.with_name(path.name + ".part")
    figure.savefig(unfinished, format="png")
    os.replace(unfinished, path)
    return path
