"""Style of the book's figures, attention maps, and figures with sliders."""

import os
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from numbers import Integral
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from minidiff.files.atomic import replacing

# Okabe and Ito's palette, which people with colour blindness can distinguish.
# Each colour also has its own line style, for black-and-white print.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#000000")
LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 3)))


def use_style(figures: str = "png") -> None:
    """Set the book's style: white background, readable on dark pages too.

    ``figures`` is the format of a notebook's figures: "png", or "svg" for
    lines, bars and diagrams, which stay sharp at every size.
    """
    if figures not in ("png", "svg"):
        raise ValueError(f"figures: got {figures!r}, expected 'png' or 'svg'")
    plt.rcParams.update(
        {
            "figure.figsize": (6.0, 3.2),
            "figure.dpi": 110,
            "figure.facecolor": "white",
            "figure.constrained_layout.use": True,
            "savefig.facecolor": "white",
            "svg.hashsalt": "minidiff",
            "axes.grid": True,
            "axes.prop_cycle": cycler(color=COLOURS) + cycler(linestyle=LINES),
            "axes.spines.right": False,
            "axes.spines.top": False,
            "grid.alpha": 0.3,
            "font.size": 10,
            "legend.frameon": False,
        }
    )
    if _in_notebook():
        from matplotlib_inline.backend_inline import set_matplotlib_formats

        # Without the date, so that a rebuilt notebook is the same.
        undated = {"metadata": {"Date": None}} if figures == "svg" else {}
        set_matplotlib_formats(figures, **undated)


def literal(text: str) -> str:
    """Return a user's text in the form that Matplotlib shows as it is.

    It reads what stands between two dollars as mathematics.
    """
    return text.replace("$", r"\$")


def show_maps(
    maps: Sequence[np.ndarray], titles: Sequence[str], *, limit: float = 0.0
) -> tuple[Figure, np.ndarray]:
    """Draw attention maps (T, S) side by side on one colour scale.

    Orange is positive, purple negative, white zero. The scale begins at zero
    if no weight is negative. ``limit`` is the weight with the strongest
    colour; 0 means the largest absolute weight.
    """
    if len(maps) != len(titles):
        raise ValueError(
            f"titles: got {len(titles)}, expected {len(maps)}, one for each "
            "map"
        )
    limit = limit or max(float(np.abs(m).max()) for m in maps)
    signed = any((m < 0).any() for m in maps)
    colours, low = ("PuOr_r", -limit) if signed else ("Oranges", 0.0)
    width = 2.4 * len(maps) + 0.6
    figure, axes = plt.subplots(
        1, len(maps), figsize=(width, 2.7), squeeze=False
    )
    for axis, weights, title in zip(axes[0], maps, titles, strict=True):
        image = axis.imshow(weights, cmap=colours, vmin=low, vmax=limit)
        axis.set(title=title, xlabel="key")
        axis.grid(False)
    axes[0, 0].set_ylabel("query")
    figure.colorbar(image, ax=axes[0], shrink=0.8, label="weight")
    return figure, axes[0]


def curves_with_band(
    axis: Axes, x: np.ndarray, runs: np.ndarray, label: str
) -> None:
    """Draw the mean and the full range of several runs, (runs, len(x))."""
    (line,) = axis.plot(x, runs.mean(0), label=label)
    axis.fill_between(
        x, runs.min(0), runs.max(0), color=line.get_color(), alpha=0.2, lw=0
    )


# Lowest value, highest value, step, start.
Range = tuple[float, float, float, float]


def sliders(draw: Callable[..., Figure], **ranges: Range) -> None:
    """Show the figure ``draw(**values)`` under a slider for each value.

    ``noise=(0.0, 2.0, 0.1, 1.0)`` is a slider from 0 to 2 in steps of 0.1
    that starts at 1; if all four numbers are int, so are the values.
    ``draw`` takes the values by name and returns a new pyplot figure. Where
    sliders do not work (in a script, on the website, in a build of the book,
    without ipywidgets) only the figure of the start values is shown. The
    figure is an ordinary output of the cell in both cases, so a saved
    notebook contains it. Raises ValueError if a start is out of range or a
    step is not positive.
    """
    for name, (low, high, step, start) in ranges.items():
        if step <= 0:
            raise ValueError(f"{name}: step is {step}, expected above 0")
        if not low <= start <= high:
            raise ValueError(
                f"{name}: start is {start}, expected {low} to {high}"
            )
    figure = draw(**{name: start for name, (*_, start) in ranges.items()})
    if not is_live():
        plt.show()
        return
    import ipywidgets
    from IPython.display import display

    controls = {name: _slider(name, *ranges[name]) for name in ranges}
    display(ipywidgets.VBox(list(controls.values())))
    picture = display(figure, display_id=True)
    plt.close(figure)  # otherwise the notebook would show it twice

    def redraw(_: Any) -> None:
        new = draw(**{name: c.value for name, c in controls.items()})
        picture.update(new)
        plt.close(new)

    for control in controls.values():
        control.observe(redraw, names="value")


def is_live() -> bool:
    """Tell whether sliders work: in a reader's notebook, not in a build.

    The book's builder sets MINIDIFF_STILL, because its notebook kernels are
    otherwise the same as a reader's.
    """
    if os.environ.get("MINIDIFF_STILL", "") not in ("", "0"):
        return False
    return find_spec("ipywidgets") is not None and _in_notebook()


def _in_notebook() -> bool:
    """Tell whether this is a kernel of Jupyter."""
    if find_spec("IPython") is None:
        return False
    from IPython import get_ipython

    return hasattr(get_ipython(), "kernel")


def _slider(
    name: str, low: float, high: float, step: float, start: float
) -> Any:
    """Return a slider with its label and its current value."""
    import ipywidgets

    whole = all(isinstance(x, Integral) for x in (low, high, step, start))
    kind = ipywidgets.IntSlider if whole else ipywidgets.FloatSlider
    return kind(
        description=name,
        tooltip=f"{name}, from {low} to {high}",
        min=low,
        max=high,
        step=step,
        value=start,
        layout=ipywidgets.Layout(width="28em"),
    )


def save_figure(figure: Figure, path: str | Path) -> Path:
    """Write the figure as a PNG file and return its path.

    The file appears complete or not at all.
    """
    path = Path(path)
    with replacing(path) as part:
        figure.savefig(part, format="png")
    return path
