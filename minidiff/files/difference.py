"""The first difference between two JSON values, for short error messages."""

from itertools import zip_longest
from typing import Any, NamedTuple


class Difference(NamedTuple):
    """Where two values differ, such as ``.data.sides[2]``, and what is there.

    A value that is there on one side only is ``NOTHING`` on the other.
    """

    path: str
    first: Any
    second: Any


class _Nothing:
    def __repr__(self) -> str:
        return "nothing"


NOTHING = _Nothing()


def difference(first: Any, second: Any, path: str = "") -> Difference | None:
    """Return the first difference, in the order of keys, or None if equal."""
    pairs: list[tuple[str, Any, Any]] = []
    if isinstance(first, dict) and isinstance(second, dict):
        for key in sorted(first.keys() | second.keys()):
            both = (side.get(key, NOTHING) for side in (first, second))
            pairs.append((f"{path}.{key}", *both))
    elif isinstance(first, list) and isinstance(second, list):
        items = zip_longest(first, second, fillvalue=NOTHING)
        pairs = [(f"{path}[{i}]", *both) for i, both in enumerate(items)]
    elif first != second:
        return Difference(path, first, second)
    found = (difference(a, b, where) for where, a, b in pairs)
    return next((one for one in found if one is not None), None)
