"""Protection of readers' work: decide if a notebook may be overwritten."""

import hashlib
import json
import subprocess
from pathlib import Path

from minidiff.files.atomic import replacing


def digest(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, as hex."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def changed_in_git(root: Path, path: Path) -> bool:
    """Tell whether `path` is modified by git; True if git cannot tell.

    A file that git does not track counts as not modified, because there is
    no committed version that a reader could have changed.
    """
    try:
        done = subprocess.run(
            ["git", "status", "--porcelain", "--", str(path)],
            cwd=root,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return True
    return bool(done.stdout.strip()) and not done.stdout.startswith("??")


class Ledger:
    """Record of the files that the builder itself wrote.

    Without it an author could not build twice before committing: git reports
    the notebook of the first build as modified, although no reader changed
    it.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.path = root / "book" / "_build" / "notebooks.json"
        self.digests: dict[str, str] = {}
        if self.path.exists():
            text = self.path.read_text(encoding="utf-8")
            self.digests = json.loads(text)

    def key(self, path: Path) -> str:
        """Return the path relative to the root, with ``/`` on every system."""
        return path.relative_to(self.root).as_posix()

    def ours(self, path: Path) -> bool:
        """Tell whether `path` is identical to what the builder wrote last."""
        known = self.digests.get(self.key(path))
        return path.exists() and known == digest(path)

    def may_write(self, path: Path) -> bool:
        """Tell whether `path` can be overwritten without losing changes."""
        if not path.exists() or self.ours(path):
            return True
        return not changed_in_git(self.root, path)

    def write(self, path: Path, text: str) -> bool:
        """Write `text` if it differs and record it; return if it differed."""
        data = text.encode("utf-8")
        new = not path.exists() or path.read_bytes() != data
        if new:
            path.parent.mkdir(parents=True, exist_ok=True)
            replace(path, data)
        self.digests[self.key(path)] = digest(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        dump = json.dumps(self.digests, indent=1, sort_keys=True)
        replace(self.path, dump.encode())
        return new


def replace(path: Path, data: bytes) -> None:
    """Replace the file at ``path``; it appears complete or not at all."""
    with replacing(path) as part:
        part.write_bytes(data)
