"""The recorded benchmark of attention, and its two figures in chapter 13.

All sizes hold the same number of tokens and columns; a size is (D, T).
"""

from collections.abc import Sequence
from math import inf
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from minidiff.course.ceilings import least_ms
from minidiff.course.paths import results
from minidiff.files.json import read_json
from minidiff.files.schema import anything, fields, list_of, map_of
from minidiff.plots import COLOURS

RECORD = "a record of `minidiff bench attention`"
SCHEMA = fields({"provenance": anything, "rows": list_of(map_of(anything))})
OURS = "diff/triton"
WHAT = ("forward", "train")


class Attention:
    """The rows of ``book/results/bench_attention.json``."""

    def __init__(self) -> None:
        found = read_json(results("bench_attention.json"), SCHEMA, RECORD)
        self.provenance: dict[str, Any] = found["provenance"]
        self.rows: list[dict[str, Any]] = found["rows"]
        self.by = {(r["peer"], r["D"], r["T"]): r for r in self.rows}
        self.sizes = sorted({key[1:] for key in self.by})

    def ms(self, peer: str, what: str, D: int, T: int) -> float:
        """Return a recorded time; infinity where the peer cannot run."""
        return float(self.by[peer, D, T].get(what + "_ms", inf))

    def over_ours(self, *peers: str) -> list[float]:
        """Return the fastest peer's time over ours: forward, then train."""
        return [
            min(self.ms(p, what, *s) for p in peers) / self.ms(OURS, what, *s)
            for what in WHAT
            for s in self.sizes
        ]

    def ratios(self) -> dict[str, list[float]]:
        """Return ``over_ours`` for the best other DIFF, and plain models."""
        names = {r["peer"] for r in self.rows if r["kind"] == "diff"} - {OURS}
        return {
            "best other DIFF": self.over_ours(*names),
            "plain, cuDNN": self.over_ours("plain/cudnn"),
            "plain, FlashAttention-2": self.over_ours("plain/flash"),
        }


def _panels(sizes: Sequence[Any], label: str) -> tuple[Figure, Any]:
    """Two panels, forward and train, with a row for each size."""
    figure, axes = plt.subplots(1, 2, figsize=(7.4, 2.9), sharey=True)
    for axis, what in zip(axes, WHAT, strict=True):
        axis.set(title=what, xlabel=label, yticks=range(len(sizes)))
        axis.set_yticklabels([f"D {D}, T {T}" for D, T in sizes])
        axis.axvline(1, color="0.4", lw=1)
    axes[0].invert_yaxis()
    return figure, axes


def show_floors(record: Attention) -> Figure:
    """Draw our times over the least times, and what taking turns costs."""
    figure, axes = _panels(record.sizes, "time / least time")
    for axis, what in zip(axes, WHAT, strict=True):
        for y, (D, T) in enumerate(record.sizes):
            row = record.by[OURS, D, T]
            parts = least_ms(what, row["B"], row["H"], T, D)
            low, took = parts.max(), row[what + "_ms"]
            axis.plot(took / low, y, "o", color=COLOURS[0])
            axis.plot(parts.sum() / low, y, "x", color=COLOURS[1])
    axes[1].legend(["least time", "recorded", "in turns"], fontsize=8)
    return figure


def show_ratios(record: Attention) -> Figure:
    """Draw how long others take, relative to ours."""
    count = len(record.sizes)
    figure, axes = _panels(record.sizes, "its time / ours")
    for (name, found), mark in zip(
        record.ratios().items(), "osD", strict=True
    ):
        for part, axis in enumerate(axes):
            mine = found[count * part : count * (part + 1)]
            axis.plot(mine, range(count), mark, ls="", label=name)
    figure.legend(
        *axes[0].get_legend_handles_labels(),
        loc="outside lower center",
        ncols=3,
        fontsize=8,
    )
    return figure
