"""Report of a benchmark: a row for each implementation, printed as a table."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch

from minidiff.bench.timing import by_round

Row = dict[str, Any]
REFUSALS = ("forward_error", "train_error", "decode_error", "again_error")


class Column(NamedTuple):
    """One column of numbers: its key in a row, and how it is printed."""

    key: str
    heading: str
    width: int
    places: int


def add_times(
    name: str,
    rows: Sequence[Row],
    functions: Mapping[str, Callable[[], object]],
    device: torch.device,
    rounds: int,
) -> None:
    """Time the functions, named by peer, and write the times into the rows.

    "{name}_ms" is the median in milliseconds, "{name}_ratio" the median
    divided by that of the fastest plain peer, or None if no plain peer ran.
    The rows have those of the rounds so far after each round, so that a run
    that is stopped keeps them.
    """
    for times in by_round(functions, device, rounds):
        plain = min(
            (t for n, t in times.items() if n.startswith("plain/")),
            default=None,
        )
        for row in rows:
            if row["peer"] in times:
                ms = times[row["peer"]]
                row[f"{name}_ms"] = round(ms, 4)
                row[f"{name}_ratio"] = plain and round(ms / plain, 3)


def ready(row: Row) -> str:
    """Format a row before it is timed: its accuracy, or why it refused."""
    said = [row[key] for key in REFUSALS if key in row]
    words = [f"  {row['peer']:20s}"]
    if "relative_error" in row:
        words.append(f"right, relative error {row['relative_error']:.1e}")
    return " ".join(words + [text[:75] for text in said[:1]]).rstrip()


def table(
    title: str, rows: Sequence[Row], columns: Sequence[Column], by: str
) -> str:
    """Format the rows of one setting as text, the smallest ``by`` first.

    If a peer could not run, its row shows the error message.
    """
    headings = (f"{c.heading:>{c.width}s}" for c in columns)
    lines = [title, " ".join([f"{'peer':20s}", *headings])]
    for row in sorted(rows, key=lambda r: r.get(by, float("inf"))):
        lines.append(" ".join(_cells(row, columns)).rstrip())
        said = [row[key] for key in REFUSALS if key in row]
        lines += [f"  {text[:75]}" for text in said[:1]]
    return "\n".join(lines) + "\n"


def _cells(row: Row, columns: Sequence[Column]) -> Iterator[str]:
    yield f"{row['peer']:20s}"
    for key, _, width, places in columns:
        value = row.get(key)
        yield (
            f"{'-':>{width}s}"
            if value is None
            else f"{value:{width}.{places}f}"
        )
