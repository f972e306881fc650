"""Atomic writes: a file or folder appears complete, or not at all.

It is written under a temporary name in the same folder, flushed to disk and
then renamed. If the process is killed before, the old file is still there.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write to; rename it to ``path`` at the end.

    After any exception the temporary file is removed and ``path`` is
    unchanged. Raises OSError, naming ``path``, if it cannot be written.
    """
    part = path.with_name(path.name + ".part")
    try:
        yield part
        sync(part)
        os.replace(part, path)
        sync(path.parent)
    except BaseException as error:
        part.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise _named(path, error) from error
        raise


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder to fill; rename it to ``path`` at the end.

    After any exception the temporary folder is removed. Raises OSError,
    naming ``path``, if it cannot be written.
    """
    part = path.with_name(path.name + ".part")
    shutil.rmtree(part, ignore_errors=True)  # left by a killed process
    try:
        part.mkdir(parents=True)
        yield part
        os.rename(part, path)
        sync(path.parent)
    except BaseException as error:
        shutil.rmtree(part, ignore_errors=True)
        if isinstance(error, OSError):
            raise _named(path, error) from error
        raise


def write_text(path: Path, text: str) -> None:
    """Write ``text`` in UTF-8 to the file ``path``, atomically."""
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")


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


def _named(path: Path, error: OSError) -> OSError:
    """Return the error with ``path`` instead of the temporary name."""
    if error.errno is None:
        return error  # raised by this package, with a file name
    return OSError(f"{path}: could not be written ({error.strerror})")
