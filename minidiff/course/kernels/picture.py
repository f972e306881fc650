"""The picture of a recorder's log: which program touches which element."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import to_rgb

from minidiff.course.kernels.trace import Log
from minidiff.plots import COLOURS


def show_touches(
    log: Log, *names: str, program: tuple[int, ...] | None = None
) -> tuple[Any, np.ndarray]:
    """Draw which program touches which element of the arguments named.

    An element bears its program's place in the grid; where several come, how
    many. Given one ``program``, only its elements are filled in. White is
    untouched. Above a tensor stands how many touches missed it.
    """
    every = sorted({t.program for t in log.touches})
    # As many axes of the grid as it takes to tell the programs apart.
    axes_used = max(
        i + 1 for i in range(3) if i == 0 or any(p[i] for p in every)
    )
    maps = [np.atleast_2d(log.programs(name)) for name in names]
    maps = [m.reshape(-1, m.shape[-1]) for m in maps]
    widths, rows = [m.shape[1] for m in maps], max(len(m) for m in maps)
    if rows == 1:  # vectors: one below the other
        size = min(7.0, 0.32 * max(widths) + 0.6), 0.85 * len(maps)
        figure, axes = plt.subplots(len(maps), 1, squeeze=False, figsize=size)
    else:
        size = (
            min(7.4, 0.3 * sum(widths) + 1.2),
            min(0.24 * rows + 0.5, 4),
        )
        figure, axes = plt.subplots(
            1, len(maps), squeeze=False, figsize=size, width_ratios=widths
        )
    for axis, name, sets in zip(axes.flat, names, maps, strict=True):
        picture = np.ones((*sets.shape, 3))
        for at, found in np.ndenumerate(sets):
            if program is not None:
                found = found & {(*program, 0, 0)[:3]}
            if not found:
                continue
            place = every.index(min(found)) % 5
            colour = to_rgb(COLOURS[place] if len(found) == 1 else "0.6")
            picture[at] = 0.5 + 0.5 * np.array(colour)
            text = ",".join(str(n) for n in min(found)[:axes_used])
            if len(found) > 1:
                text = f"×{len(found)}"
            if program is None and sets.size <= 400:
                axis.text(*at[::-1], text, ha="center", va="center", size=7)
        axis.imshow(picture)
        kinds = sorted({f"{t.kind}s" for t in log.of(name)})
        missed = log.outside(name)
        axis.set_title(
            f"{name}: {' and '.join(kinds)}"
            + (f", {missed} outside" if missed else ""),
            fontsize=9,
        )
        axis.set_xticks(np.arange(-0.5, sets.shape[1]), [])
        axis.set_yticks(np.arange(-0.5, len(sets)), [])
        axis.tick_params(length=0)
        axis.grid(color="0.85", alpha=1)
    return figure, axes.reshape(-1)
