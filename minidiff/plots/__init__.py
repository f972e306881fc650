"""Plots: the book's style, maps, sliders, live trainings and benchmarks."""

from minidiff.files.extras import need

need("matplotlib", "minidiff.plots")

from minidiff.plots.live import LiveTraining  # noqa: E402
from minidiff.plots.style import (  # noqa: E402
    COLOURS,
    LINES,
    curves_with_band,
    save_figure,
    show_maps,
    sliders,
    use_style,
)

__all__ = [
    "COLOURS",
    "LINES",
    "LiveTraining",
    "curves_with_band",
    "save_figure",
    "show_maps",
    "sliders",
    "use_style",
]
