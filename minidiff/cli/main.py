"""Entry point of the command line: choose the command and run it."""

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from contextlib import suppress

from minidiff import __version__
from minidiff.cli import (
    bench,
    check,
    evaluate,
    fetch,
    generate,
    plot,
    progress,
    tokens,
    train,
)
from minidiff.cli.output import GONE, any_text, drop, open_streams
from minidiff.cli.parser import Parser, new_parser
from minidiff.cli.signals import Ended, ended_like_ctrl_c
from minidiff.files.extras import MissingPackageError, need

_EPILOG = """examples:
  minidiff train --data needles --attention diff --out runs/needles
      find hidden key-value pairs; about a minute
  minidiff train --data stdlib --out runs/code
      a language model of Python's own source, byte by byte
  minidiff train --out runs/code --resume
      go on with a run that was stopped, with the settings it began with
  minidiff tokens ~/texts --tokenizer bpe --out data/texts
      a large corpus as token files, for --data of any number of runs
  minidiff plot runs/code runs/needles
      losses side by side, in runs.png
  minidiff generate runs/code --prompt "def mean(" --temperature 0.7
  minidiff evaluate runs/code
      loss by position, recall, attention and outliers, as tables
  minidiff bench attention
      every way to compute attention, timed side by side
  minidiff check notebooks/*.ipynb
      a table of which exercises are solved
  minidiff progress
      how far you are in the course
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0, or 2 for an error.

    A command that was interrupted returns 130, and one that a signal ended
    128 and its number, as shells report them.
    """
    with open_streams(), ended_like_ctrl_c():
        return _main(argv)


def _main(argv: Sequence[str] | None) -> int:
    parser = build_parser()
    given = list(sys.argv[1:] if argv is None else argv)
    try:
        _complete(parser)
        with any_text():
            if not given:
                parser.print_help(sys.stderr)
                return 2
            arguments = parser.parse_args(given)
            arguments.command = shlex.join(["minidiff", *given])
            return arguments.run(arguments) or 0
    except BrokenPipeError:
        drop()
        return GONE
    except (
        ValueError,
        TypeError,
        OSError,
        ArithmeticError,
        MissingPackageError,
    ) as error:
        return _fail(str(error))
    except (MemoryError, RuntimeError) as error:
        if not _is_memory(error):
            raise
        return _fail(f"not enough memory: choose smaller sizes ({error})")
    except Ended as ended:
        _say(f"minidiff: {ended}")
        return 128 + ended.number
    except KeyboardInterrupt as stopped:
        _say(f"minidiff: {str(stopped) or 'stopped'}")
        return 130


def _complete(parser: argparse.ArgumentParser) -> None:
    """Answer a shell that asks what Tab may complete, and exit."""
    if "_ARGCOMPLETE" in os.environ:
        need("argcomplete", "shell completion")
        import argcomplete

        argcomplete.autocomplete(parser)


def _fail(text: str) -> int:
    """Print an error in one line and return the exit code."""
    # Names of files may hold anything, as the escapes of a terminal.
    line = " ".join(text.split())
    line = "".join(c if c.isprintable() else repr(c)[1:-1] for c in line)
    _say(f"minidiff: error: {line}")
    return 2


def _say(line: str) -> None:
    """Print a line on standard error, unless its terminal has been closed."""
    with suppress(OSError):
        print(line, file=sys.stderr, flush=True)


def _is_memory(error: BaseException) -> bool:
    """Tell whether PyTorch or Python could not allocate memory."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or (
        "out of memory" in text or "can't allocate memory" in text
    )


def build_parser() -> argparse.ArgumentParser:
    """Describe the commands and their options."""
    parser = new_parser(
        Parser,
        prog="minidiff",
        description="Train and sample small language models with "
        "differential or plain attention.",
        epilog=_EPILOG,
    )
    parser.add_argument(
        "--version", action="version", version=f"minidiff {__version__}"
    )
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in (
        train,
        fetch,
        tokens,
        plot,
        generate,
        evaluate,
        bench,
        check,
        progress,
    ):
        command.add(subparsers)
    return parser
