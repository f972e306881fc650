"""``minidiff plot``: runs side by side."""

import argparse
import os
from pathlib import Path
from typing import Any

from minidiff.commands.parser import new_parser

EPILOG = """A run may still be going on: what it has logged is drawn.

example:
  minidiff plot runs/plain runs/diff --out runs.png
"""


def add(subparsers: Any) -> None:
    """Describe the command and its options."""
    plot = new_parser(
        subparsers.add_parser,
        name="plot",
        help="draw the losses of runs side by side",
        description="Draw training loss, validation loss and gradient norm "
        "of one or more runs against the tokens they have read.",
        epilog=EPILOG,
    )
    plot.set_defaults(run=run)
    add = plot.add_argument
    add("folders", nargs="+", metavar="RUN", help="minidiff train made them")
    add(
        "--out",
        default="runs.png",
        metavar="FILE",
        help="the picture, a PNG file (default: runs.png)",
    )


def run(arguments: argparse.Namespace) -> None:
    """Write a PNG file with all runs in it."""
    try:
        import matplotlib
    except ImportError as error:
        raise ValueError(
            "drawing needs Matplotlib, expected after: pip install matplotlib"
        ) from error
    matplotlib.use("agg")  # a file is wanted, and no window
    from minidiff.plots import save_figure
    from minidiff.run_figure import draw_runs, read_log

    names = _names(arguments.folders)
    logs = {
        name: read_log(Path(folder))
        for name, folder in zip(names, arguments.folders, strict=True)
    }
    path = save_figure(draw_runs(logs), arguments.out)
    for name, log in logs.items():
        print(f"{name}: {len(log)} steps, last loss {log[-1]['loss']:.4f}")
    print(f"drawn in {path}")


def _names(folders: list[str]) -> list[str]:
    """The folders' paths, without what they begin with in common."""
    paths = [os.path.abspath(folder) for folder in folders]
    common = os.path.commonpath([os.path.dirname(p) for p in paths])
    return [os.path.relpath(path, common) for path in paths]
