"""Pictures of answers: where one can come from, and where many came from."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

SOURCES = {
    "right": ("C0", ""),
    "another document": ("C1", "///"),
    "memory": ("C3", "..."),
    "not stated": ("0.8", ""),
    "nowhere": ("0.45", ""),
}
"""The sources of an answer, with their colours and hatches."""

_EXAMPLES = (
    ("The capital of\nJapan is Oslo.", "Oslo", "right"),
    ("The capital of\nKenya is Lima.", "Lima", "another document"),
    ("the real world", "Tokyo", "memory"),
    ("", "not stated", "not stated"),
    ("no place at all", "Cairo", "nowhere"),
)


def show_sources() -> Figure:
    """Draw a prompt of two documents, and answers from five sources."""
    figure, axis = plt.subplots(figsize=(7.4, 3.4))
    for row, (place, said, source) in enumerate(_EXAMPLES):
        y, colour = -float(row), SOURCES[source][0]
        if source == "not stated":
            colour = "0.5"  # lighter ones are for areas
        _box(axis, 4.2, y, said, colour)
        axis.text(5.1, y, source, va="center", color=colour, weight="bold")
        if place:
            _box(axis, 0, y, place, colour)
            arrow = {"arrowstyle": "->", "color": colour, "lw": 1.5}
            axis.annotate("", (3.5, y), (0.95, y), arrowprops=arrow)
    frame = Rectangle((-1.1, -1.5), 2.2, 2, fill=False, ec="0.4", ls="--")
    axis.add_patch(frame)
    axis.text(0, 0.6, "the prompt", ha="center", color="0.4")
    question = "What is the capital of Japan?"
    axis.text(2.4, 0.25, question, ha="center", style="italic")
    axis.set(xlim=(-1.3, 7), ylim=(-4.4, 0.9))
    axis.axis("off")
    return figure


def show_shares(
    panels: Mapping[str, Mapping[str, Mapping[str, float]]],
) -> Figure:
    """Draw a panel of bars for each entry, cut by the sources of answers.

    ``panels`` has, by title, the bars from top to bottom by name; a bar is
    the share of answers of each source. All panels have the same bars. The
    legend leaves out a source from which no answer came.
    """
    names = list(next(iter(panels.values())))
    all_bars = [bar for bars in panels.values() for bar in bars.values()]
    used = [name for name in SOURCES if any(bar.get(name) for bar in all_bars)]
    size = (8.0 if len(panels) > 1 else 7.0, 1.3 + 0.25 * len(names))
    figure, axes = plt.subplots(
        1, len(panels), figsize=size, sharey=True, squeeze=False
    )
    for axis, (title, bars) in zip(axes[0], panels.items(), strict=True):
        for row, name in enumerate(names):
            _stack(axis, -row, bars[name])
        axis.set(title=title, xlim=(0, 1), xticks=(0, 0.5, 1))
        axis.grid(False)
    axes[0, 0].set_yticks([-row for row in range(len(names))], names)
    figure.legend(
        [_piece(*SOURCES[name]) for name in used],
        used,
        ncols=len(used),
        loc="outside upper center",
        fontsize=9,
    )
    figure.supxlabel("share of answers")
    return figure


def _stack(axis: Axes, y: float, shares: Mapping[str, float]) -> None:
    left = 0.0
    for source, (colour, hatch) in SOURCES.items():
        width = shares.get(source, 0.0)
        piece = _piece(colour, hatch, (left, y - 0.42), width)
        axis.add_patch(piece)
        left += width
    axis.set_ylim(y - 0.6, 0.6)


def _piece(
    colour: str,
    hatch: str,
    corner: tuple[float, float] = (0, 0),
    width: float = 1.0,
) -> Rectangle:
    return Rectangle(
        corner, width, 0.84, facecolor=colour, edgecolor="white", hatch=hatch
    )


def _box(axis: Axes, x: float, y: float, text: str, colour: str) -> None:
    look = {"boxstyle": "round,pad=0.4", "fc": "white", "ec": colour}
    axis.text(x, y, text, ha="center", va="center", bbox=look)
