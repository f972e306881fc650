"""Refusal of answers that call the package's own solution."""

import sys
from collections.abc import Callable, Iterable
from types import CodeType, ModuleType
from typing import Any


class ImportedAnswerError(Exception):
    """Raised if an answer is, or calls, a function that it has to write."""


def own_work(*functions: Callable[..., Any]) -> Callable[..., Any]:
    """Return an ``Exercise.run`` that refuses answers using these functions.

    A function is found under any name by which the answer's code, or code
    nested in it, can reach it: a global, or an attribute of a module, also of
    one that is imported inside the answer.
    """

    def run(answer: Callable[..., Any], *args: Any) -> Any:
        written = getattr(answer, "__wrapped__", answer)
        for function in functions:
            if function is written or function in _reached(written):
                name = getattr(function, "__name__", "")
                raise ImportedAnswerError(f"{name} is what you are to write")
        return answer(*args)

    return run


def _reached(answer: Any) -> list[Any]:
    code = getattr(answer, "__code__", None)
    known = getattr(answer, "__globals__", {})
    names = set(_names([code])) if isinstance(code, CodeType) else set()
    found = [
        place[name]
        for place in (known, sys.modules)
        for name in names
        if name in place
    ]
    return found + [
        vars(module)[name]
        for module in found
        if isinstance(module, ModuleType)
        for name in names
        if name in vars(module)
    ]


def _names(codes: Iterable[CodeType]) -> Iterable[str]:
    for code in codes:
        yield from code.co_names
        yield from _names(c for c in code.co_consts if isinstance(c, CodeType))
