"""Schemas of JSON values: the type and the limits of every entry.

A schema is a function that takes a value and its key, such as
``settings.layers``, and raises ValueError, naming the key, if the value is
not as expected.
"""

import math
import re
import sys
from collections.abc import Callable, Mapping
from typing import Any

from minidiff.files.checks import shown

Schema = Callable[[Any, str], None]

LARGEST = sys.float_info.max


def anything(value: Any, key: str) -> None:
    """Accept every value."""


def text(value: Any, key: str) -> None:
    """Accept a string."""
    _expect(isinstance(value, str), value, key, "a string")


def flag(value: Any, key: str) -> None:
    """Accept true or false."""
    _expect(isinstance(value, bool), value, key, "true or false")


def scalar(value: Any, key: str) -> None:
    """Accept a string, true, false, null or a finite number."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        number()(value, key)
    else:
        good = value is None or isinstance(value, str | bool)
        _expect(good, value, key, "a string, a number, true, false or null")


def integer(low: int = 0, high: int = 2**53) -> Schema:
    """Return the schema of a whole number in a range."""

    def check(value: Any, key: str) -> None:
        whole = isinstance(value, int) and not isinstance(value, bool)
        wanted = f"a whole number from {low} to {high}"
        _expect(whole and low <= value <= high, value, key, wanted)

    return check


def number(low: float = -math.inf, high: float = math.inf) -> Schema:
    """Return the schema of a finite number in a range."""

    def check(value: Any, key: str) -> None:
        real = isinstance(value, int | float) and not isinstance(value, bool)
        bounds = "" if low == -math.inf else f" from {low:g}"
        bounds += "" if high == math.inf else f" to {high:g}"
        # An integer of JSON may be larger than any float.
        good = real and low <= value <= high and abs(value) <= LARGEST
        _expect(good, value, key, f"a finite number{bounds}")

    return check


def one_of(*values: Any) -> Schema:
    """Return the schema of a value that is one of these."""

    def check(value: Any, key: str) -> None:
        found = any(type(value) is type(v) and value == v for v in values)
        wanted = " or ".join(map(repr, values))
        _expect(found, value, key, wanted)

    return check


def maybe(schema: Schema) -> Schema:
    """Return the schema of a value that may also be null."""

    def check(value: Any, key: str) -> None:
        if value is not None:
            schema(value, key)

    return check


def list_of(schema: Schema, least: int = 0) -> Schema:
    """Return the schema of a list whose entries all have one schema."""

    def check(value: Any, key: str) -> None:
        _expect(isinstance(value, list), value, key, "a list")
        if len(value) < least:
            raise ValueError(
                f"{_named(key)}got {len(value)} entries, expected {least} or "
                "more"
            )
        for place, entry in enumerate(value):
            schema(entry, f"{key}[{place}]")

    return check


def row_of(*schemas: Schema) -> Schema:
    """Return the schema of a list with exactly these entries."""

    def check(value: Any, key: str) -> None:
        good = isinstance(value, list) and len(value) == len(schemas)
        _expect(good, value, key, f"a list of {len(schemas)} entries")
        for place, schema in enumerate(schemas):
            schema(value[place], f"{key}[{place}]")

    return check


def map_of(schema: Schema, names: str = ".*") -> Schema:
    """Return the schema of an object whose values all have one schema.

    All of its keys must match the regular expression ``names``.
    """

    def check(value: Any, key: str) -> None:
        _expect(isinstance(value, dict), value, key, "an object")
        for name, entry in value.items():
            if not re.fullmatch(names, name, re.DOTALL):
                raise ValueError(
                    f"{_named(key)}got the key {name[:60]!r}, expected keys "
                    f"like {names}"
                )
            schema(entry, _join(key, name))

    return check


def fields(
    required: Mapping[str, Schema],
    optional: Mapping[str, Schema] | None = None,
) -> Schema:
    """Return the schema of an object with these keys.

    Other keys are allowed, because a later version may write more.
    """

    def check(value: Any, key: str) -> None:
        _expect(isinstance(value, dict), value, key, "an object")
        for name, schema in required.items():
            if name not in value:
                raise ValueError(
                    f"{_join(key, name)}: missing, expected an entry"
                )
            schema(value[name], _join(key, name))
        for name, schema in (optional or {}).items():
            if name in value:
                schema(value[name], _join(key, name))

    return check


def _expect(good: bool, value: Any, key: str, wanted: str) -> None:
    if not good:
        raise ValueError(
            f"{_named(key)}got {_brief(value)}, expected {wanted}"
        )


def _brief(value: Any) -> str:
    """Show a value; of a list or an object only its length."""
    if isinstance(value, dict | list):
        return f"{type(value).__name__} of {len(value)}"
    return shown(value)


def _join(key: str, name: str) -> str:
    return f"{key}.{name}" if key else name


def _named(key: str) -> str:
    return f"{key}: " if key else ""
