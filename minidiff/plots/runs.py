"""Figure of several runs: their training logs, side by side."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogFormatter, MaxNLocator

from minidiff.plots.style import literal, use_style
from minidiff.training.log_file import LOG_NAME, read_records

Log = Sequence[Mapping[str, Any]]
# Points of a smoothed curve; a point for every step would show mostly noise.
POINTS = 50


def read_log(folder: Path) -> list[dict[str, Any]]:
    """Read a run folder's log, one dict for each logged step.

    An incomplete last line, of a run that is still going on or was killed,
    is skipped. Raises ValueError, naming the file, if it has no step or is
    not a log.
    """
    path = folder / LOG_NAME
    if not path.exists():
        raise ValueError(
            f"RUN: {path} does not exist, expected a folder that "
            "minidiff train made"
        )
    log = read_records(path)
    if not log:
        raise ValueError(f"{path}: no step yet, expected one or more")
    return log


def draw_runs(logs: Mapping[str, Log]) -> Figure:
    """Draw every run's training loss, validation loss and gradient norm.

    The x axis is the number of tokens read, so that runs with different
    batch sizes can be compared. The training loss and the norm are means
    over a fiftieth of the run, so the curves start where the first mean ends.
    """
    use_style()
    figure, (loss, valid, norm) = plt.subplots(1, 3, figsize=(11, 3.4))
    for folder, log in logs.items():
        name = _label(folder)
        _smooth(loss, log, "loss", name)
        _smooth(norm, log, "grad_norm", name)
        measured = [r for r in log if r.get("valid_loss") is not None]
        valid.plot(
            [r["tokens"] for r in measured],
            [r["valid_loss"] for r in measured],
            marker="o",
            markersize=3,
            label=name,
        )
    for axis, title in (
        (loss, "training loss, nats"),
        (valid, "validation loss, nats"),
        (norm, "gradient norm, before clipping"),
    ):
        axis.set(title=title, xlabel="tokens read")
        axis.xaxis.set_major_locator(MaxNLocator(5))
        axis.xaxis.set_major_formatter(EngFormatter(sep=""))
    norm.set_yscale("log")
    norm.yaxis.set_minor_formatter(LogFormatter(minor_thresholds=(2, 0.5)))
    loss.legend()
    return figure


def _label(name: str) -> str:
    """Return a run's name for a legend, which leaves out those with a _."""
    return literal(f"./{name}" if name.startswith("_") else name)


def _smooth(axis: Axes, log: Log, key: str, label: str) -> None:
    """Plot one column as a running mean."""
    width = max(1, len(log) // POINTS)
    values = np.array([r[key] for r in log])
    sums = np.concatenate([[0.0], np.cumsum(values)])
    means = (sums[width:] - sums[:-width]) / width
    tokens = [r["tokens"] for r in log][width - 1 :]
    axis.plot(tokens, means, label=label)
