"""Reading of files that others made: regular files only, errors by name.

A named pipe would never end, a device may have side effects, and a file may
be unreadable or larger than memory. Each is refused by an error that names
the file and the reason.
"""

import os
import stat
from pathlib import Path

MOST_BYTES = 2**30
"""Largest text that is read at once, 1 GiB."""


def problem(path: Path) -> str | None:
    """Return why a path is not a readable regular file, or None if it is."""
    try:
        kind = os.stat(path).st_mode
        if not stat.S_ISREG(kind):
            return f"{_KINDS.get(stat.S_IFMT(kind), 'not a regular file')}"
        with open(path, "rb"):
            return None
    except FileNotFoundError:
        return "no such file"
    except (OSError, ValueError) as error:
        return f"cannot be read ({_reason(error)})"


def check_readable(path: Path, expected: str) -> None:
    """Raise ValueError, naming the file, unless it can be read."""
    found = problem(path)
    if found is not None:
        raise ValueError(f"{path}: {found}, expected {expected}")


def read_bytes(path: Path, expected: str, most: int = MOST_BYTES) -> bytes:
    """Return the contents of a regular file.

    ``expected`` says in the error what the file should be. Raises ValueError,
    naming the file, if it is missing, not a regular file, unreadable or
    larger than ``most`` bytes.
    """
    check_readable(path, expected)
    try:
        with open(path, "rb") as file:
            data = file.read(most + 1)
    except OSError as error:
        raise ValueError(
            f"{path}: cannot be read ({_reason(error)}), expected {expected}"
        ) from error
    if len(data) > most:
        raise ValueError(
            f"{path}: larger than {most} bytes, expected {expected}"
        )
    return data


def read_text(path: Path, expected: str, most: int = MOST_BYTES) -> str:
    r"""Return a UTF-8 text with ``\n`` line ends; see :func:`read_bytes`."""
    data = read_bytes(path, expected, most)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path}: not UTF-8 (byte {error.start}), expected {expected}"
        ) from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _reason(error: OSError | ValueError) -> str:
    return getattr(error, "strerror", None) or str(error)


_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
