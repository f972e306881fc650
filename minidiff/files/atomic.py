"""Atomic writes: a file or folder appears complete, or not at all.

It is written under a temporary name in the same folder, flushed to disk and
then renamed. If the process is killed before, the old file is still there.

Temporary names contain a random number of this process and are created only
if they do not exist, so that no file of anybody else is overwritten or
removed.
"""

import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import TypeVar

Made = TypeVar("Made")


class WriteError(OSError):
    """A file or folder could not be written; the message names it."""


TOKEN = secrets.token_hex(8)
"""Random part of this process's temporary names."""

_numbers = count()


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write to; rename it to ``path`` at the end.

    A symbolic link is followed: the file that it names is replaced. After any
    exception the temporary file is removed and ``path`` is unchanged. Raises
    OSError, naming ``path``, if it cannot be written.
    """
    check_file(path)
    real = Path(os.path.realpath(path))
    part = None
    try:
        part, descriptor = _create(real, _new_file)
        os.close(descriptor)
        # A replaced file keeps its permissions, whatever the block does.
        mode = (real if real.exists() else part).stat().st_mode
        yield part
        os.chmod(part, stat.S_IMODE(mode))
        sync(part)
        check_file(path)
        os.replace(part, real)
        sync(real.parent)
    except BaseException as error:
        if part is not None:
            part.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise _named(path, error) from error
        raise


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder to fill; rename it to ``path`` at the end.

    After any exception the temporary folder is removed. Raises OSError,
    naming ``path``, if it cannot be written or if it exists.
    """
    part = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part, _ = _create(path, os.mkdir)
        yield part
        if os.path.lexists(path):
            raise WriteError(f"{path}: exists, expected a new folder")
        os.rename(part, path)
        sync(path.parent)
    except BaseException as error:
        if part is not None:
            shutil.rmtree(part, ignore_errors=True)
        if isinstance(error, OSError):
            raise _named(path, error) from error
        raise


def write_text(path: Path, text: str) -> None:
    """Write ``text`` in UTF-8 to the file ``path``, atomically."""
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")


def check_file(path: Path) -> None:
    """Raise OSError unless ``path`` can be the name of a file to write.

    It must be a regular file, a link to one, or not exist.
    """
    real = os.path.realpath(path)
    try:
        kind = os.lstat(real).st_mode
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise WriteError(f"{path}: could not be written ({reason})") from error
    if not stat.S_ISREG(kind):
        found = "a folder" if stat.S_ISDIR(kind) else "not a regular file"
        raise WriteError(
            f"{path}: could not be written (it is {found}), expected the "
            "name of a file"
        )


def sync(path: Path) -> None:
    """Flush a file, or the entries of a folder, to disk."""
    folder = path.is_dir()
    if folder and os.name != "posix":
        return  # other systems cannot open folders
    descriptor = os.open(path, os.O_RDONLY if folder else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _new_file(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)


def _create(path: Path, make: Callable[[str], Made]) -> tuple[Path, Made]:
    """Make a file or folder beside ``path`` that did not exist."""
    # A name may have 255 bytes, so only the beginning of a long one is used.
    beginning = os.fsdecode(os.fsencode(path.name)[:100])
    while True:
        name = f"{beginning}.{TOKEN}-{next(_numbers)}.part"
        part = path.with_name(name)
        try:
            return part, make(os.fspath(part))
        except FileExistsError:
            continue


def _named(path: Path, error: OSError) -> OSError:
    """Return the error with ``path`` instead of the temporary name."""
    if isinstance(error, WriteError):
        return error
    reason = error.strerror or error
    return WriteError(f"{path}: could not be written ({reason})")
