"""``minidiff check``: a table of which exercises are solved."""

import argparse
from typing import Any

from minidiff.cli.parser import new_parser


def add(subparsers: Any) -> None:
    """Describe the command and its options."""
    check = new_parser(
        subparsers.add_parser,
        name="check",
        help="say which exercises are solved in notebooks",
        description="Run the checks of each notebook's exercises and print "
        "a table, a row a notebook.",
        epilog="example:\n  minidiff check class/*.ipynb\n",
    )
    check.add_argument("notebooks", nargs="+", metavar="NOTEBOOK")
    check.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print a table of the exercises solved in notebooks."""
    from minidiff.check import teacher

    return teacher.main(arguments.notebooks)
