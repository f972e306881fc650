"""Locks: one process at a time writes a run folder or builds token files.

A lock is a file that its owner keeps locked. The system releases the lock of
a process that ends, however it ends, so that a lock left behind by a killed
process is recognised: the file is there, but not locked. On a file system
without locks, the file has no effect.
"""

import errno
import os
import re
import shutil
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from minidiff.files.atomic import TOKEN, WriteError

_BUSY = {errno.EACCES, errno.EAGAIN, errno.EDEADLK, errno.EWOULDBLOCK}
_TEXT = r"minidiff lock: process (\d+) on (.*), ([0-9a-f]{16})\n"


class Lock:
    """The lock of ``what``, kept in the file ``path`` until ``release``.

    Raises ValueError, naming ``what``, if another process holds it, and
    OSError if the file cannot be written.
    """

    def __init__(self, path: Path, what: str) -> None:
        self._path = path
        try:
            self._file: int | None = _open(path, what)
        except OSError as error:
            raise WriteError(
                f"{path}: could not be written ({error.strerror})"
            ) from error

    def release(self) -> None:
        """Remove the file and let other processes go on."""
        if self._file is None:
            return
        # Removed while it is locked, so that the file is still one's own.
        # Windows cannot remove an open file.
        if os.name == "posix":
            self._path.unlink(missing_ok=True)
        os.close(self._file)
        self._file = None


@contextmanager
def locked(path: Path, what: str) -> Iterator[None]:
    """Hold a lock during the block."""
    lock = Lock(path, what)
    try:
        yield
    finally:
        lock.release()


def _open(path: Path, what: str) -> int:
    """Return the locked file, open."""
    while True:
        if path.exists() and not path.is_file():
            raise ValueError(
                f"{path}: not a regular file, expected the lock of {what}"
            )
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            free = _try(file)
            text = os.read(file, 4096).decode(errors="replace")
            owner = re.fullmatch(_TEXT, text)
            if not free:
                by = "another process"
                if owner:
                    by = f"process {owner[1]} on {owner[2]}"
                raise ValueError(
                    f"{what} is being written by {by}, expected nobody else: "
                    "wait until it ends, or choose another folder"
                )
            if text and not owner:
                raise ValueError(
                    f"{path}: not a lock of minidiff, expected no such file"
                )
            if not _is(file, path):  # its owner has just removed it
                os.close(file)
                continue
            if owner:
                _remove_parts(path.parent, owner[3])
            try:
                _sign(file)
            except OSError:
                path.unlink(missing_ok=True)  # nothing is left on a full disk
                raise
            return file
        except BaseException:
            os.close(file)
            raise


def _sign(file: int) -> None:
    """Write who holds the lock, for the error of others."""
    line = f"minidiff lock: process {os.getpid()} on "
    line += f"{socket.gethostname()}, {TOKEN}\n"
    os.ftruncate(file, 0)
    os.lseek(file, 0, os.SEEK_SET)
    os.write(file, line.encode())


def _is(file: int, path: Path) -> bool:
    """Tell whether an open file still has the name ``path``."""
    try:
        return os.path.samestat(os.fstat(file), os.stat(path))
    except FileNotFoundError:
        return False


def _remove_parts(folder: Path, token: str) -> None:
    """Remove the temporary files of the killed process that had a token."""
    for path in folder.iterdir():
        if re.search(rf"\.{token}-\d+\.part$", path.name):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def _try(file: int) -> bool:
    """Lock an open file; return False if another process has locked it."""
    try:
        if sys.platform == "win32":
            import msvcrt

            # A byte behind the text, which others may then still read.
            os.lseek(file, 2**20, os.SEEK_SET)
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
            os.lseek(file, 0, os.SEEK_SET)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in _BUSY
    return True
