"""Atomic writes: a file or folder appears complete, or not at all.

Each is written under a temporary name beside its own, forced to the disk and
then renamed. A process that is killed leaves what was there before.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write to; rename it to ``path`` at the end.

    After any exception the temporary file is removed and ``path`` is as it
    was. Raises OSError, naming ``path``, if it cannot be written.
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

    After any exception nothing of it is left. Raises OSError, naming
    ``path``, if it cannot be written.
    """
    part = path.with_name(path.name + ".part")
    shutil.rmtree(part, ignore_errors=True)  # of a process that was killed
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
    """Replace the file at ``path`` by ``text`` in UTF-8."""
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")


def sync(path: Path) -> None:
    """Force a file, or the names in a folder, from memory to the disk."""
    folder = path.is_dir()
    if folder and os.name != "posix":
        return  # other systems do not open folders
    descriptor = os.open(path, os.O_RDONLY if folder else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _named(path: Path, error: OSError) -> OSError:
    """Return the error with the name that the caller knows."""
    if error.errno is None:
        return error  # one of ours, which names its file already
    return OSError(f"{path}: could not be written ({error.strerror})")
