"""Diagram of an eviction: which keys two heads keep, and where they stand."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

KEPT, GONE, NEW = "#CFE2F3", "white", "#FCE0C8"


def kept_places(scores: Sequence[float], budget: int) -> list[int]:
    """Return the places of the ``budget`` highest scores, ascending."""
    order = sorted(range(len(scores)), key=lambda s: -scores[s])
    return sorted(order[:budget])


def _cell(axis: Axes, x: float, y: float, position: int, colour: str) -> None:
    """Draw one key's place in memory, with its position in the text."""
    line = ":" if colour == GONE else "-"
    axis.add_patch(
        Rectangle((x, y), 0.9, 0.7, facecolor=colour, ec="black", ls=line)
    )
    shade = "0.4" if colour == GONE else "black"
    axis.text(
        x + 0.45, y + 0.35, str(position), ha="center", va="center",
        fontsize=9, color=shade,
    )  # fmt: skip


def show_eviction(
    scores: Sequence[Sequence[float]], budget: int, new: int = 2
) -> Figure:
    """Draw the caches of some heads before and after an eviction.

    ``scores`` (H, S) are numbers from 0 to 1, drawn as bars above the keys.
    After the eviction ``new`` tokens have been read.
    """
    figure, axis = plt.subplots(figsize=(8, 1.9 * len(scores)))
    S, right = len(scores[0]), len(scores[0]) + 2.2
    for h, of_head in enumerate(scores):
        y = -2.1 * h
        kept = kept_places(of_head, budget)
        axis.text(-0.3, y + 0.35, f"head {h}", ha="right", va="center")
        for s, score in enumerate(of_head):
            _cell(axis, s, y, s, KEPT if s in kept else GONE)
            axis.add_patch(
                Rectangle((s + 0.25, y + 0.8), 0.4, 0.8 * score, color="0.45")
            )
        axis.annotate(
            "", (right - 0.3, y + 0.35), (S + 0.2, y + 0.35),
            arrowprops={"arrowstyle": "->"},
        )  # fmt: skip
        for i, s in enumerate([*kept, *range(S, S + new)]):
            _cell(axis, right + i, y, s, KEPT if i < budget else NEW)
    axis.text(-0.3, 1.1, "scores", ha="right", va="center")
    for x, name in (
        (0, f"{S} keys of a prompt, with their positions"),
        (right, f"{budget} kept, then {new} new ones"),
    ):
        axis.text(x, 1.95, name, va="center", fontsize=10)
    axis.set(
        xlim=(-1.6, right + budget + new), ylim=(-2.1 * len(scores) + 1.9, 2.2)
    )
    axis.axis("off")
    return figure
