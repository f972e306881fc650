"""``minidiff progress``: how many exercises passed, and which are left."""

import argparse
from typing import Any

from minidiff.cli.parser import new_parser

EPILOG = """The checks of the notebooks write down what has passed, in the file
progress.json beside your kept answers. Nobody else sees it.
"""


def add(subparsers: Any) -> None:
    """Describe the command; it has no options."""
    progress = new_parser(
        subparsers.add_parser,
        name="progress",
        help="show how far you are in the course's exercises",
        description="Print how many exercises have passed, by part and "
        "chapter.",
        epilog=EPILOG,
    )
    progress.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Print the table."""
    from minidiff import check
    from minidiff.check import kept, progress

    folder = kept.folder()
    if folder is None:
        raise ValueError(
            f"{kept.VARIABLE}: empty, expected the folder of your answers, or "
            "the variable not set"
        )
    print(progress.table(progress.passed(folder), check.exercises_by_set()))
    print(f"\nAnswers and progress are kept in {folder.absolute()}")
