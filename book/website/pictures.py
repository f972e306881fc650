"""Draw the home page's figure and the picture that shared links show.

Run `python book/website/pictures.py`. Both pictures show the maps that open
chapter 03: the same draw, the same needle.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure

from minidiff import plots
from minidiff.reference import attention_map

BOOK = Path(__file__).resolve().parent.parent
NEEDLE_COLOUR = "#0072B2"
LAM = 0.8


def maps() -> tuple[np.ndarray, np.ndarray, int]:
    """Return the two maps (T, T) of chapter 03's cold open, and the needle."""
    rng = np.random.default_rng(1047)
    T, D = 12, 8
    needle = int(rng.integers(3, 6))
    q1, k1, own_q, own_k = 1.2 * rng.normal(size=(4, T, D))
    q1[:, 0], k1[:, 0] = 2.0, 0.0
    q2, k2 = q1 + 0.15 * own_q, k1 + 0.15 * own_k
    k1[needle, 0] = np.sqrt(D)
    return attention_map(q1, k1), attention_map(q2, k2), needle


def draw_map(
    axis: Axes, weights: np.ndarray, needle: int, title: str, size: float
) -> None:
    """Draw one causal map as a triangle of cells, the needle pointed at."""
    T = len(weights)
    rows, columns = np.tril_indices(T)
    corners = np.array([(0, 0), (1, 0), (1, 1), (0, 1)])
    cells = PolyCollection(
        np.stack([columns, rows], 1)[:, None] + corners,
        array=weights[rows, columns],
        cmap="PuOr_r",
        clim=(-0.7, 0.7),
        edgecolors="#c8c8c8",
        linewidth=0.6,
    )
    axis.add_collection(cells)
    axis.set_title(title, fontsize=size, pad=8)
    axis.annotate(
        "needle",
        (needle + 0.5, T),
        (needle + 0.5, T + 2.3),
        ha="center",
        color=NEEDLE_COLOUR,
        fontsize=0.8 * size,
        arrowprops={"arrowstyle": "-|>", "color": NEEDLE_COLOUR},
        annotation_clip=False,
    )
    axis.set(xlim=(0, T), ylim=(T, 0), aspect="equal")
    axis.axis("off")


def draw(figure: Figure, top: float, bottom: float, size: float) -> None:
    """Draw map 1 - 0.8 map 2 = the difference, in a band of the figure."""
    A1, A2, needle = maps()
    panels = {
        "first map": A1,
        "second map": A2,
        "difference": A1 - LAM * A2,
    }
    width, gap = 0.25, 0.1
    left = (1 - 3 * width - 2 * gap) / 2
    for i, (title, weights) in enumerate(panels.items()):
        x = left + i * (width + gap)
        axis = figure.add_axes((x, bottom, width, top - bottom))
        draw_map(axis, weights, needle, title, size)
        if i < 2:
            sign = (f"− {LAM} ×", "=")[i]
            middle = (top + bottom) / 2
            figure.text(
                x + width + gap / 2, middle, sign, ha="center", fontsize=size
            )


def home_figure(path: Path) -> None:
    """Write the figure of the home page, as SVG."""
    figure = plt.figure(figsize=(8, 3.1))
    draw(figure, top=0.87, bottom=0.14, size=13)
    figure.savefig(path, transparent=True, metadata={"Date": None})
    plt.close(figure)


def link_preview(path: Path) -> None:
    """Write the picture that a shared link shows: PNG, 1200 x 630."""
    figure = plt.figure(figsize=(12, 6.3), dpi=100)
    figure.text(0.06, 0.86, "Differential attention, from scratch", size=34)
    subtitle = (
        "Two attention maps, subtracted: noise cancels, the needle stays"
    )
    figure.text(0.06, 0.785, subtitle, size=19, color="#444444")
    draw(figure, top=0.68, bottom=0.12, size=19)
    figure.savefig(path, metadata={"Software": None})
    plt.close(figure)


def main() -> None:
    """Write both pictures into book/."""
    plots.use_style()
    settings = {
        "figure.constrained_layout.use": False,
        "svg.fonttype": "none",
        "font.family": "sans-serif",
    }
    with plt.rc_context(settings):
        home_figure(BOOK / "figures" / "needle.svg")
        link_preview(BOOK / "_static" / "preview.png")


if __name__ == "__main__":
    main()
