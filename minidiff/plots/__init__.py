"""Plots: the book's style, attention maps, sliders, runs and benchmarks."""

from minidiff.files.extras import need

need("matplotlib", "minidiff.plots")

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
    "curves_with_band",
    "save_figure",
    "show_maps",
    "sliders",
    "use_style",
]
