"""Protection of readers' work: decide if a notebook may be overwritten."""

import hashlib
import json
import subprocess
from pathlib import Path
from typing import Any

from minidiff.files.atomic import replacing


class SavedMeanwhileError(Exception):
    """A notebook was saved by somebody else while it was being built."""


def digest(path: Path) -> str | None:
    """Return the SHA-256 of a file's bytes, as hex; None without a file."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except FileNotFoundError:
        return None


def committed(root: Path, path: Path) -> bool:
    """Tell whether the last commit holds `path` exactly as it is.

    The bytes are compared. What git reports as its state is not enough: git
    is silent about a file that it ignores or was told to assume unchanged,
    and an untracked file is in no commit that could bring it back.
    """
    name = path.relative_to(root).as_posix()
    try:
        done = subprocess.run(
            ["git", "cat-file", "blob", f"HEAD:./{name}"],
            cwd=root,
            capture_output=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return False
    data = path.read_bytes()
    return done.stdout in (data, data.replace(b"\r\n", b"\n"))


def read_object(path: Path, what: str) -> dict[str, Any]:
    """Read a JSON object; {} if there is no file.

    Raises ValueError, naming the file and ``what`` to do, if it cannot be
    read as one.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (ValueError, RecursionError, OSError) as error:
        raise ValueError(f"{path}: not readable ({error}); {what}") from error
    if not isinstance(found, dict):
        kind = type(found).__name__
        raise ValueError(f"{path}: expected an object, got {kind}; {what}")
    return found


class Ledger:
    """Record of the files that the builder itself wrote.

    Without it an author could not build twice before committing: the notebook
    of the first build is in no commit, although no reader changed it.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.path = root / "book" / "_build" / "notebooks.json"
        self.digests: dict[str, str] = read_object(
            self.path,
            "delete it, and only notebooks of the last commit are overwritten",
        )
        self.seen: dict[Path, str | None] = {}

    def key(self, path: Path) -> str:
        """Return the path relative to the root, with ``/`` on every system."""
        return path.relative_to(self.root).as_posix()

    def may_write(self, path: Path) -> bool:
        """Tell whether `path` can be overwritten without losing changes.

        It can if there is no file, or if it is as this builder wrote it last
        or as the last commit holds it.
        """
        now = digest(path)
        ours = self.digests.get(self.key(path)) == now
        return now is None or ours or committed(self.root, path)

    def look(self, path: Path) -> None:
        """Remember `path` as it is before the build."""
        self.seen[path] = digest(path)

    def write(self, path: Path, text: str) -> bool:
        """Write `text` if it differs and record it; return if it differed.

        Raises SavedMeanwhileError, and leaves the file alone, if ``look`` saw
        it before and it is no longer the same.
        """
        data = text.encode("utf-8")
        new = digest(path) != hashlib.sha256(data).hexdigest()
        if new:
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as part:
                part.write_bytes(data)
                if digest(path) != self.seen.get(path, digest(path)):
                    raise SavedMeanwhileError(self.key(path))
        self.digests[self.key(path)] = hashlib.sha256(data).hexdigest()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        dump = json.dumps(self.digests, indent=1, sort_keys=True)
        replace(self.path, dump.encode())
        return new


def replace(path: Path, data: bytes) -> None:
    """Replace the file at ``path``; it appears complete or not at all."""
    with replacing(path) as part:
        part.write_bytes(data)
