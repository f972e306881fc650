"""``minidiff check``: a table of which exercises are solved."""

import argparse
from typing import Any

from minidiff.cli.options import above
from minidiff.cli.parser import new_parser

_PROTECTION = """\
Exit status: 0 if every notebook ran to its end, has a right answer and no
wrong one; otherwise 1.

What is protected: all files are read before the first notebook runs. Each
notebook runs in a process and a new folder of its own. A cell that does not
end, prints without end, ends its process or, on Linux, takes more than 8 GB
of memory (or half of the machine's) costs that cell, not the row, and a
function of NumPy or PyTorch that a notebook replaces fails its checks.

What is not: the code of the notebooks runs with your permissions. It can read
and change your files, use the network and leave processes behind, and it can
report results that are not true. For students you do not trust, use a
container or an account that holds nothing you would miss.

example:
  minidiff check class/*.ipynb
"""


def add(subparsers: Any) -> None:
    """Describe the command and its options."""
    check = new_parser(
        subparsers.add_parser,
        name="check",
        help="say which exercises are solved in notebooks",
        description="Run the checks of each notebook's exercises and print "
        "a table, a row a notebook.",
        epilog=_PROTECTION,
    )
    check.add_argument("notebooks", nargs="+", metavar="NOTEBOOK")
    check.add_argument(
        "--timeout",
        **above(0),
        default=600.0,
        metavar="SECONDS",
        help="limit for one cell (default: %(default)g)",
    )
    check.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print a table of the exercises solved in notebooks."""
    from minidiff.check import teacher

    return teacher.main(arguments.notebooks, arguments.timeout)
