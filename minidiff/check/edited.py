"""Wrong kernels and classes, made by replacing text in a right one's source.

Triton compiles a kernel from its source, so each variant needs its own.
"""

import linecache
import sys
from itertools import count
from typing import Any

from minidiff.check.compare import source_of

_number = count()


def edited(right: Any, *changes: tuple[str, str]) -> Any:
    """Return a new kernel or class: ``right`` with (old, new) text replaced.

    Raises ValueError if an old text is not in the source.
    """
    text = source_of(right)
    name = getattr(right, "fn", right).__name__
    for old, new in changes:
        if old not in text:
            raise ValueError(f"{old!r} is not in the source of {name}")
        text = text.replace(old, new)
    return from_source(right, text)


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
