"""``minidiff plot``: a figure of several runs or of a benchmark's record."""

import argparse
import os
from pathlib import Path
from typing import Any

from minidiff.cli.options import named
from minidiff.cli.output import check_out
from minidiff.cli.parser import new_parser
from minidiff.files.extras import need

EPILOG = """A run may still be going on: what it has logged is drawn.

examples:
  minidiff plot runs/plain runs/diff --out runs.png
  minidiff bench attention --out attention.json
  minidiff plot attention.json --out attention.png
"""


def add(subparsers: Any) -> None:
    """Describe the command and its options."""
    plot = new_parser(
        subparsers.add_parser,
        name="plot",
        help="draw the losses of runs side by side, or a benchmark",
        description="Draw training loss, validation loss and gradient norm "
        "of one or more runs against the tokens they have read; or, of the "
        "JSON file that minidiff bench wrote, every peer's time over the "
        "fastest plain one's.",
        epilog=EPILOG,
    )
    plot.set_defaults(run=run)
    add = plot.add_argument
    add(
        "paths",
        **named(),
        nargs="+",
        metavar="RUN",
        help="folders that minidiff train made, or one file, NAME.json, that "
        "minidiff bench wrote",
    )
    add(
        "--out",
        **named(),
        default="runs.png",
        metavar="FILE",
        help="the picture, a PNG file (default: %(default)s)",
    )


def run(arguments: argparse.Namespace) -> None:
    """Write a PNG file with all runs, or with a benchmark's record."""
    need("matplotlib", "minidiff plot")
    check_out(arguments.out)
    import matplotlib

    matplotlib.use("agg")  # draw to a file, not to a window
    if Path(arguments.paths[0]).suffix == ".json":
        _plot_record(arguments.paths, arguments.out)
    else:
        _plot_runs(arguments.paths, arguments.out)


def _plot_record(paths: list[str], out: str) -> None:
    from minidiff.plots import save_figure
    from minidiff.plots.benchmarks import draw_record, read_record

    if len(paths) > 1:
        raise ValueError(
            f"RUN: got {len(paths)} with {paths[0]} first, expected one "
            "benchmark's record by itself"
        )
    figure = draw_record(read_record(Path(paths[0])))
    print(f"drawn in {save_figure(figure, out)}")


def _plot_runs(folders: list[str], out: str) -> None:
    from minidiff.plots import save_figure
    from minidiff.plots.runs import draw_runs, read_log

    names = _names(folders)
    logs = {
        name: read_log(Path(folder))
        for name, folder in zip(names, folders, strict=True)
    }
    path = save_figure(draw_runs(logs), out)
    for name, log in logs.items():
        print(f"{name}: {len(log)} steps, last loss {log[-1]['loss']:.4f}")
    print(f"drawn in {path}")


def _names(folders: list[str]) -> list[str]:
    """Return the folders' paths without their common beginning."""
    paths = [os.path.abspath(folder) for folder in folders]
    common = os.path.commonpath([os.path.dirname(p) for p in paths])
    names = [os.path.relpath(path, common) for path in paths]
    # A font has no form of the bytes of a name that is not UTF-8.
    return [n if n.isprintable() else repr(n)[1:-1] for n in names]
