"""Lists that an answer must leave as they came."""

import copy
from collections.abc import Callable
from typing import Any

from minidiff.check.core import ArgumentChangedError


def unchanged(answer: Callable[..., Any], *args: Any) -> Any:
    """Run an answer; an error if it wrote into a list it was given.

    A tuple is handed on as one result, because several are not expected.
    """
    before = copy.deepcopy(args)
    out = answer(*args)
    if args != before:
        raise ArgumentChangedError("your function changed a list it was given")
    return (out,) if isinstance(out, tuple) else out
