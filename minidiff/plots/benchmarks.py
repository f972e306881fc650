"""Figure of a benchmark's record: times relative to plain attention."""

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from minidiff.files.json import read_json
from minidiff.files.schema import fields, list_of, maybe, number, text
from minidiff.plots.style import COLOURS, use_style

Row = dict[str, Any]

MARKS = "osDv^<>pPXdh"
WHAT = {
    "forward_ratio": "forward",
    "train_ratio": "forward + backward",
    "decode_ratio": "one new token",
}
RECORD = fields(
    {
        "provenance": fields({"device": text}),
        "setting": fields({"dtype": text}),
        # Drawn on an axis of logarithms, so no ratio may be 0.
        "rows": list_of(
            fields(
                {"peer": text},
                dict.fromkeys(WHAT, maybe(number(1e-9, 1e9))),
            )
        ),
    }
)


def read_record(path: Path) -> dict[str, Any]:
    """Read a record that ``minidiff bench ... --out`` wrote.

    Raises ValueError, naming the file, if it is not such a record.
    """
    wrong = "not a benchmark's record"
    expected = "what minidiff bench wrote"
    record = read_json(path, RECORD, expected, wrong=wrong)
    if not any(_measures(row) for row in record["rows"]):
        raise ValueError(f"{path}: nothing in it was timed beside a plain one")
    return record


def draw_record(record: dict[str, Any]) -> Figure:
    """Draw every peer's time relative to the fastest plain one's.

    There is a panel for each measure that was timed, and a mark for each
    size. Peers are sorted from fastest to slowest by the geometric mean of
    their ratios in the last panel. If a peer could not run a size, that mark
    is missing.
    """
    use_style()
    rows = record["rows"]
    keys = [key for key in WHAT if any(key in _measures(r) for r in rows)]
    sizes = list(dict.fromkeys(_size(row) for row in rows))
    ran = {row["peer"] for row in rows if _measures(row)}
    peers = _sorted(ran, rows, keys[-1])
    figure, axes = plt.subplots(
        1,
        len(keys),
        figsize=(2.6 + 3.2 * len(keys), 1.3 + 0.22 * len(peers)),
        sharey=True,
        squeeze=False,
    )
    for axis, key in zip(axes[0], keys, strict=True):
        for n, size in enumerate(sizes):
            found = {
                row["peer"]: row[key]
                for row in rows
                if _size(row) == size and key in _measures(row)
            }
            axis.plot(
                [found[peer] for peer in peers if peer in found],
                [y for y, peer in enumerate(peers) if peer in found],
                MARKS[n % len(MARKS)],
                color=COLOURS[n % len(COLOURS)],
                fillstyle="none",
                markersize=5,
                label=size,
            )
        axis.axvline(1, color="0.4", linewidth=1)
        axis.set_xscale("log")
        axis.set(title=WHAT[key], xlabel="time, fastest plain = 1")
        low, high = axis.get_xlim()
        ticks = [t for t in (0.5, 1, 2, 5, 10, 20, 50) if low < t < high]
        axis.set_xticks(ticks, [f"{t:g}" for t in ticks])
        axis.minorticks_off()
    axes[0, 0].set_yticks(range(len(peers)), peers)
    axes[0, 0].set_ylim(len(peers) - 0.5, -0.5)
    figure.legend(
        *axes[0, -1].get_legend_handles_labels(),
        loc="outside right upper",
        fontsize=8,
        title=f"{record['provenance']['device']}\n"
        f"{record['setting']['dtype']}",
        title_fontsize=8,
        alignment="left",
    )
    return figure


def _measures(row: Row) -> set[str]:
    """Return the names of the measures in a row that can be drawn."""
    return {key for key in WHAT if row.get(key) is not None}


def _size(row: Row) -> str:
    """Format the sizes of a row for the legend."""
    return ", ".join(f"{n} {row[n]}" for n in row if n.isupper())


def _sorted(peers: set[str], rows: list[Row], key: str) -> list[str]:
    def place(peer: str) -> float:
        ratios = [
            row[key]
            for row in rows
            if row["peer"] == peer and key in _measures(row)
        ]
        return float(np.mean(np.log(ratios))) if ratios else np.inf

    return sorted(sorted(peers), key=place)
