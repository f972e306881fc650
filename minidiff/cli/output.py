"""Standard output that takes any text, and early checks of --out."""

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from minidiff.files.atomic import WriteError, check_file

FULL = {errno.ENOSPC, errno.EFBIG, errno.EIO}
GONE = 141
"""Exit code if the reader of the output has gone, as in other programs."""


@contextmanager
def open_streams() -> Iterator[None]:
    """Give a closed standard output or error a place to write to.

    A process that was started without one, as ``minidiff train ... 2>&-`` or
    by some schedulers, has None there, and a progress bar cannot write to it.
    """
    with (
        open(os.devnull, "w", encoding="utf-8") as nothing,
        ExitStack() as last,
    ):
        for name in ("stdout", "stderr"):
            if getattr(sys, name) is None:
                setattr(sys, name, nothing)
                last.callback(setattr, sys, name, None)
        yield


@contextmanager
def any_text() -> Iterator[None]:
    r"""Print what the output's encoding does not have as an escape.

    With an encoding such as ASCII, printing a Greek letter would otherwise
    end the command; here it is printed as ``\u03bb``. At the end everything
    is written; an error names the standard output.
    """
    change = getattr(sys.stdout, "reconfigure", None)
    before = getattr(sys.stdout, "errors", None)
    fails = change is not None and before in ("strict", "surrogateescape")
    if change is not None and fails:
        change(errors="backslashreplace")
    try:
        yield
    except OSError as error:
        # Errors of files name them; what is left are those of print.
        if error.errno in FULL and error.filename is None:
            drop()
            raise _named(error) from error
        raise
    else:
        flush()
    finally:
        if change is not None and fails:
            with suppress(OSError):  # it flushes too
                change(errors=before)


def flush() -> None:
    """Write what was printed; an error names the standard output."""
    if sys.stdout is None or sys.stdout.closed:
        return
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        drop()
        raise _named(error) from error


def _named(error: OSError) -> WriteError:
    return WriteError(
        f"standard output: could not be written ({error.strerror})"
    )


def drop() -> None:
    """Write nothing more, so that the interpreter's exit does not fail."""
    with open(os.devnull, "w") as nothing, suppress(OSError, ValueError):
        os.dup2(nothing.fileno(), sys.stdout.fileno())


def check_out(out: str | None) -> None:
    """Raise OSError, naming the file, if --out cannot be written.

    Called before a command measures or draws, which may take hours.
    """
    if out is None:
        return
    path = Path(out)
    check_file(path)
    folder = next(p for p in path.absolute().parents if p.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise WriteError(
            f"{path}: could not be written ({folder} is not a folder that "
            "can be written)"
        )
