"""Rooflines of several machines in one figure, for chapter 13."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from minidiff.plots import COLOURS

TICKS = [10.0**n for n in range(-1, 7)]


def show_roofs(
    roofs: Mapping[str, tuple[float, float]], calls: Mapping[str, float]
) -> Figure:
    """Draw each machine's roof, and where each call lies below it.

    ``roofs``: FLOPs and bytes a second of each machine; ``calls``: the
    intensity of each call, in FLOPs a byte.
    """
    figure, axis = plt.subplots(figsize=(7, 3.4))
    reach = np.array([min(calls.values()) / 2, max(calls.values()) * 4])
    heights = [
        np.minimum(peak, memory * reach) / 1e9
        for peak, memory in roofs.values()
    ]
    bottom, top = np.min(heights) / 2, np.max(heights) * 3
    for i, (name, (peak, memory)) in enumerate(roofs.items()):
        ends = np.sort(np.append(reach, peak / memory))
        roof = np.minimum(peak, memory * ends) / 1e9
        axis.loglog(ends, roof, color=COLOURS[i], label=name)
        at = np.array(list(calls.values()))
        under = np.minimum(peak, memory * at) / 1e9
        axis.plot(at, under, "o", color=COLOURS[i])
    above = 2 * min(peak for peak, _ in roofs.values()) / 1e9
    look = {"rotation": 90, "fontsize": 8, "ha": "right", "va": "bottom"}
    for name, x in calls.items():
        axis.axvline(x, color="0.6", lw=0.8, ls=":", zorder=0)
        axis.text(0.93 * x, above, name, look)
    axis.set(xlabel="intensity, FLOPs a byte", ylabel="GFLOP/s")
    axis.set(xlim=reach, ylim=(bottom, top))
    axis.set_xticks([x for x in TICKS if reach[0] <= x <= reach[1]])
    axis.xaxis.set_major_formatter("{x:,g}")
    axis.yaxis.set_major_formatter("{x:,.0f}")
    axis.minorticks_off()
    axis.legend(loc="upper left", fontsize=9)
    return figure
