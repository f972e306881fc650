"""A wrong kernel, made from the right one by changing a few words.

Triton reads a kernel's source, so a variant needs one of its own.
"""

import linecache
from itertools import count
from typing import Any

from minidiff.check.compare import source_of

_number = count()


def edited(kernel: Any, *changes: tuple[str, str]) -> Any:
    """Return another kernel whose source differs by these replacements.

    Raises ValueError if a text to be replaced is not there.
    """
    text = source_of(kernel)
    for old, new in changes:
        if old not in text:
            raise ValueError(f"{old!r} is not in the kernel")
        text = text.replace(old, new)
    name = kernel.fn.__name__
    file = f"<{name}, edited {next(_number)}>"
    # With this entry inspect finds the source, although there is no file.
    linecache.cache[file] = len(text), None, text.splitlines(True), file
    names = dict(kernel.fn.__globals__)
    exec(compile(text, file, "exec"), names)
    return names[name]
