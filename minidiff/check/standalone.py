"""Source of a function or class as a Python file that stands on its own.

The file holds the definition and what it needs: imports, plain constants and
the reader's other functions and classes, each before its first use.
"""

import ast
import inspect
import linecache
import math
import re
import symtable
import sys
from collections.abc import Iterator
from types import FunctionType, GenericAlias, ModuleType
from typing import Any

# Modules of kept answers; their definitions are copied, not imported.
PREFIX = "answers."
_PLAIN = (bool, int, float, complex, str, bytes, tuple, list, dict, set)
_LONGEST = 10_000  # characters of a constant


class CannotKeepError(Exception):
    """Raised with the reason why a definition cannot become a file."""


def standalone(answer: Any, name: str) -> str:
    """Return the text of a file that defines ``answer`` under ``name``.

    Raises CannotKeepError if the answer is not defined with ``def`` or
    ``class`` at the top of a cell, or uses a value that is neither a plain
    constant nor importable, such as a tensor.
    """
    file = _File()
    own = _definition(answer)[0]
    file.add(own, answer)
    if own != name:
        file.parts.append(f"{name} = {own}\n")
    head = "".join(f"{line}\n" for line in file.imports)
    return "\n\n".join(part for part in (head, *file.parts) if part)


class _File:
    """The lines of a file, collected name by name."""

    def __init__(self) -> None:
        self.imports: list[str] = []
        self.parts: list[str] = []
        self._texts: dict[str, str] = {}
        self._added: set[tuple[str, int]] = set()

    def add(self, name: str, value: Any) -> None:
        """Add what defines ``name``, after everything that it uses."""
        if (name, id(value)) in self._added:
            return
        self._added.add((name, id(value)))
        if _is_own(value):
            own, text, namespace = _definition(value)
            if own != name:
                self.add(own, value)
                self._put(name, f"{name} = {own}\n", self.parts)
                return
            for used in _names(text, namespace):
                self.add(used, namespace[used])
            self._put(name, text, self.parts)
        elif (line := _import(name, value)) is not None:
            self._put(name, line, self.imports)
        elif (constant := _literal(value)) is not None:
            self._put(name, f"{name} = {constant}\n", self.parts)
        elif isinstance(value, GenericAlias):
            # Its text names every class in full: tuple[numpy.ndarray].
            for module in re.findall(r"([\w.]+)\.\w", repr(value)):
                self.add(module, sys.modules.get(module))
            self._put(name, f"{name} = {value!r}\n", self.parts)
        else:
            raise CannotKeepError(
                f"it uses {name}, a {type(value).__name__} made in the "
                "notebook; pass it as an argument, or make it in the function"
            )

    def _put(self, name: str, text: str, where: list[str]) -> None:
        if name not in self._texts:
            self._texts[name] = text
            where.append(text)
        elif self._texts[name] != text:
            raise CannotKeepError(
                f"it needs two different things that are called {name}"
            )


def _plain(value: Any) -> Any:
    """Return the function inside a Triton kernel or a decorated function."""
    return inspect.unwrap(getattr(value, "fn", value))


def _is_own(value: Any) -> bool:
    """Tell whether the reader defined this function or class."""
    plain = _plain(value) if callable(value) else value
    if not isinstance(plain, FunctionType | type):
        return False
    module = plain.__module__ or ""
    return module == "__main__" or module.startswith(PREFIX)


def _definition(value: Any) -> tuple[str, str, dict[str, Any]]:
    """Return a definition's own name, its source and its namespace."""
    plain = _plain(value)
    function = next(_functions(plain), None)
    if function is None:
        raise CannotKeepError(f"the source of {_called(value)} was not found")
    code = function.__code__
    lines = linecache.getlines(code.co_filename, function.__globals__)
    for node in _body(lines):
        first = min([node.lineno, *(d.lineno for d in _decorators(node))])
        if first <= code.co_firstlineno <= (node.end_lineno or first):
            own = _defined(node)
            if own is not None and own == _own_name(plain, node):
                text = "".join(lines[first - 1 : node.end_lineno])
                return own, text.rstrip() + "\n", function.__globals__
    raise CannotKeepError(
        f"{_called(value)} is not defined with def or class at the left margin"
    )


def _functions(plain: Any) -> Iterator[FunctionType]:
    """Yield a function itself, or the functions of a class's body."""
    if isinstance(plain, FunctionType):
        yield plain
    elif isinstance(plain, type):
        for member in vars(plain).values():
            inner = getattr(
                member, "__func__", getattr(member, "fget", member)
            )
            inner = inspect.unwrap(inner) if callable(inner) else inner
            if isinstance(inner, FunctionType) and (
                inner.__qualname__ == f"{plain.__qualname__}.{inner.__name__}"
                and not inner.__code__.co_filename.startswith("<string>")
            ):
                yield inner


def _body(lines: list[str]) -> list[ast.stmt]:
    try:
        return ast.parse("".join(lines)).body
    except SyntaxError:
        return []


def _decorators(node: ast.stmt) -> list[ast.expr]:
    return getattr(node, "decorator_list", [])


def _defined(node: ast.stmt) -> str | None:
    """Return the name that a definition, or ``name = lambda``, defines."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return node.name
    if (
        isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Lambda)
        and isinstance(node.targets[0], ast.Name)
    ):
        return node.targets[0].id
    return None


def _own_name(plain: Any, node: ast.stmt) -> str:
    """Return the name of the definition; a lambda has that of its target."""
    own: str = plain.__qualname__
    return (_defined(node) or own) if own == "<lambda>" else own


def _called(value: Any) -> str:
    return getattr(value, "__name__", type(value).__name__)


def _names(source: str, namespace: dict[str, Any]) -> list[str]:
    """Return the names in ``source`` that mean something in ``namespace``."""
    found: dict[str, None] = {}
    tables = [symtable.symtable(source, "answer", "exec")]
    while tables:
        table = tables.pop(0)
        tables += table.get_children()
        # A class body looks names up outside, even those that it assigns.
        loose = table.get_type() in ("module", "class")
        for symbol in table.get_symbols():
            if symbol.is_referenced() and (loose or symbol.is_global()):
                found[symbol.get_name()] = None
    return [
        name
        for name in found
        if name in namespace and not name.startswith("__")
    ]


def _import(name: str, value: Any) -> str | None:
    """Return the line that imports ``value`` as ``name``, if there is one."""
    if isinstance(value, ModuleType):
        module = value.__name__
        if sys.modules.get(module) is not value:
            return None
        return f"import {module}" + (f" as {name}" * (module != name))
    if isinstance(value, _PLAIN) or value is None:
        return None
    its_name = getattr(value, "__name__", None) or name
    # Its own module first; some objects, such as torch.float64, have none.
    own = getattr(value, "__module__", None) or ""
    public = (key for key in sys.modules if "._" not in f".{key}")
    for module in (own, *sorted(public, key=lambda m: (m.count("."), m))):
        loaded = sys.modules.get(module)
        if not isinstance(loaded, ModuleType) or module.startswith(PREFIX):
            continue
        for attribute in dict.fromkeys((its_name, name)):
            if module != "__main__" and vars(loaded).get(attribute) is value:
                alias = f" as {name}" * (attribute != name)
                return f"from {module} import {attribute}{alias}"
    return None


def _literal(value: Any) -> str | None:
    """Return a plain constant as source text."""
    if value is None:
        return "None"
    if not isinstance(value, _PLAIN):
        return None
    if type(value) is float and not math.isfinite(value):
        return f'float("{value}")'
    text = repr(value)
    try:
        back = ast.literal_eval(text) if len(text) <= _LONGEST else None
    except (ValueError, SyntaxError):
        return None
    return text if type(back) is type(value) and back == value else None
