"""Plots: the book's style, attention maps, sliders, runs and benchmarks."""

from minidiff.plots.style import (
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
    "curves_with_band",
    "save_figure",
    "show_maps",
    "sliders",
    "use_style",
]
