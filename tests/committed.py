"""The notebooks that the tests of the book judge: the committed ones.

A reader solves exercises in the working tree, and that must not turn the
tests red, so the text comes from HEAD. Two exceptions: a file that git does
not have, and one that is byte for byte what the builder wrote last, because
an author tests a rebuilt notebook before committing it.
"""

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import nbformat
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "book"))
import build_notebooks  # noqa: E402
import check_notebooks  # noqa: E402
from builder import card, guard  # noqa: E402

JOBS = {
    job.target.relative_to(ROOT).as_posix(): job
    for job in build_notebooks.jobs(ROOT)
}
CHAPTERS = [path for path in JOBS if path.startswith("notebooks/")]
TIMINGS = card.load(ROOT / "book" / "results" / "timings.json")


def slowest_first(paths: Iterable[str]) -> list[str]:
    """Sort notebooks by their recorded times.

    Of two workers none is left with the longest when the other is done.
    """

    def seconds(path: str) -> int:
        return TIMINGS.get(JOBS[path].name, {}).get("under", 0)

    return sorted(paths, key=seconds, reverse=True)


def text(path: str) -> str:
    """The text of `path` (from the root) as this module's head says."""
    file = ROOT / path
    if not guard.Ledger(ROOT).may_write(file):
        try:
            done = subprocess.run(
                ["git", "show", f"HEAD:{path}"],
                cwd=ROOT,
                capture_output=True,
                check=True,
            )
            return done.stdout.decode("utf-8")
        except (OSError, subprocess.CalledProcessError):
            pass
    return file.read_text(encoding="utf-8")


def notebook(path: str) -> NotebookNode:
    """The committed notebook."""
    return nbformat.reads(text(path), as_version=4)


def expected(path: str) -> NotebookNode:
    """What the sources make of `path`, before it is executed."""
    return check_notebooks.expected(JOBS[path])


def export(path: str, folder: Path) -> Path:
    """Write the committed text of `path` under `folder`; where it lies."""
    file = folder / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text(path), encoding="utf-8")
    return file
