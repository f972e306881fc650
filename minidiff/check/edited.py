"""Wrong kernels, made from the right one by replacing text in its source.

Triton compiles a kernel from its source, so each variant needs its own.
"""

import linecache
from itertools import count
from typing import Any

from minidiff.check.compare import source_of

_number = count()


def edited(kernel: Any, *changes: tuple[str, str]) -> Any:
    """Return a new kernel, its source changed by these (old, new) pairs.

    Raises ValueError if an old text is not in the source.
    """
    text = source_of(kernel)
    for old, new in changes:
        if old not in text:
            raise ValueError(f"{old!r} is not in the kernel")
        text = text.replace(old, new)
    name = kernel.fn.__name__
    file = f"<{name}, edited {next(_number)}>"
    # This entry lets ``inspect`` find the source, although no file exists.
    linecache.cache[file] = len(text), None, text.splitlines(True), file
    names = dict(kernel.fn.__globals__)
    exec(compile(text, file, "exec"), names)
    return names[name]
