"""Wrong answers, made by replacing text in the source of a right one.

For kernels there is no other way: Triton compiles each from its source.
"""

import linecache
import sys
from itertools import count
from typing import Any

from minidiff.check.compare import source_of
from minidiff.check.core import Mistake

_number = count()


def edited(right: Any, *changes: tuple[str, str]) -> Any:
    """Return a new answer: ``right`` with each (old, new) text replaced.

    Raises ValueError if an old text is not in the source.
    """
    text = source_of(right)
    name = getattr(right, "fn", right).__name__
    for old, new in changes:
        if old not in text:
            raise ValueError(f"{old!r} is not in the source of {name}")
        text = text.replace(old, new)
    return from_source(right, text)


def slip(
    key: str, diagnosis: str, right: Any, *changes: tuple[str, str]
) -> Mistake:
    """Return a mistake: each change of ``right`` alone is a form of it."""
    wrong, *also = (edited(right, change) for change in changes)
    return Mistake(key=key, diagnosis=diagnosis, wrong=wrong, also=tuple(also))


def from_source(right: Any, text: str) -> Any:
    """Return what ``text`` defines under the name, and beside, ``right``."""
    inner = getattr(right, "fn", right)
    name = inner.__name__
    file = f"<{name}, edited {next(_number)}>"
    # This entry lets ``inspect`` find the source, although no file exists.
    linecache.cache[file] = len(text), None, text.splitlines(True), file
    names = dict(vars(sys.modules[inner.__module__]))
    exec(compile(text, file, "exec"), names)
    return names[name]
