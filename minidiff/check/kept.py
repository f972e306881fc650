"""Answers that passed, kept as small Python files for later chapters.

They are in the course's folder ``answers``, which git ignores. The
environment variable MINIDIFF_ANSWERS names another folder; if it is empty,
no answer is stored or read.
"""

import linecache
import os
import re
import sys
from datetime import date
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from typing import Any

from minidiff.check.standalone import PREFIX, CannotKeepError, standalone
from minidiff.course import root
from minidiff.files.atomic import write_text

VARIABLE = "MINIDIFF_ANSWERS"


def folder() -> Path | None:
    """Return the folder of the kept answers; None if none are stored."""
    named = os.environ.get(VARIABLE)
    if named == "":
        return None
    if named is not None:
        return Path(os.path.expanduser(named))
    try:
        return root() / "answers"
    except FileNotFoundError:
        return Path("answers")


def path_of(check_name: str) -> Path | None:
    """Return the file of an answer, "ex07_5"; None if none is stored."""
    place = folder()
    return None if place is None else place / f"{check_name}.py"


def keep(path: Path | None, title: str, answer: Any, name: str) -> str:
    """Store an answer that passed; return a line to print, or "".

    ``title`` is such as "exercise 7.5 (the whole model)". The file defines
    the answer under ``name``. An answer that cannot be kept is not stored,
    and the line says why.
    """
    if path is None:
        return ""
    today = date.today()
    is_new = not path.exists()
    try:
        text = standalone(answer, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(
            path,
            f"# Your answer to {title},\n# kept when its check passed on "
            f"{today.day} {today:%B %Y}.\n\n{text}",
        )
    except (CannotKeepError, OSError) as error:
        return f"not kept for later chapters: {error}"
    return f"kept in {path.absolute()}" if is_new else ""


def load(path: Path, name: str) -> Any:
    """Return what a kept file calls ``name``, as an import of it would."""
    module_name = PREFIX + path.stem
    loader = _Uncached(module_name, str(path))
    spec = spec_from_loader(module_name, loader)
    assert spec is not None  # the loader is given
    module = module_from_spec(spec)
    linecache.checkcache(str(path))
    sys.modules[module_name] = module  # where inspect looks for its source
    try:
        loader.exec_module(module)
        return getattr(module, name)
    except BaseException:
        del sys.modules[module_name]
        raise


def day_of(path: Path) -> str:
    """Return the day in a kept file's head, such as "29 November"."""
    head = path.read_text(encoding="utf-8")[:400]
    found = re.search(r"passed on (\d+ \w+) \d+\.", head)
    return found[1] if found else "an unknown day"


def mine(path: Path | None, kind: str, name: str, solution: Any) -> Any:
    """Return the kept answer, or the solution; print which one.

    ``kind`` is such as "exercise 7.5".
    """
    if path is None or not path.exists():
        print(f"{kind} is not solved yet: the course's solution is used")
        return solution
    try:
        answer = load(path, name)
        print(f"{kind}: your answer of {day_of(path)}")
        return answer
    except Exception as error:
        print(
            f"{kind}: {path.absolute()} does not load "
            f"({type(error).__name__}: {error}); the course's solution is used"
        )
        return solution


class _Uncached(SourceFileLoader):
    """Write no bytecode: it could be older than an edit of the same second."""

    def set_data(self, *_: Any, **__: Any) -> None:
        """Do nothing."""
