"""Checks of numbers, flags and names that a user or a file gives.

Each check returns the value. Otherwise it raises TypeError or ValueError with
the argument's name, the value received and the value expected.
"""

from collections.abc import Sequence
from math import inf, isfinite
from numbers import Real

LARGEST_SIZE = 2**31 - 1  # of one axis of a tensor
LARGEST_COUNT = 2**63 - 1  # of steps and rows; PyTorch's largest integer


def shown(value: object) -> str:
    """Return ``repr(value)`` in one short line, for an error message."""
    if isinstance(value, int) and value.bit_length() > 100:
        return "a number of more than 30 digits"
    text = " ".join(repr(value).split())
    return text if len(text) <= 80 else text[:77] + "..."


def number(
    name: str,
    value: object,
    *,
    kinds: type | tuple[type, ...] = Real,
) -> float:
    """Return a finite real number as a float.

    ``kinds`` are the accepted types. A bool is not a number.
    """
    if isinstance(value, bool) or not isinstance(value, kinds):
        raise TypeError(
            f"{name}: got {type(value).__name__}, expected a real number"
        )
    try:
        converted = float(value)  # type: ignore[arg-type]
    except OverflowError:
        converted = inf
    if not isfinite(converted):
        raise ValueError(
            f"{name}: got {shown(value)}, expected a finite number"
        )
    return converted


def positive(
    name: str,
    value: object,
    *,
    kinds: type | tuple[type, ...] = Real,
) -> float:
    """Return a finite real number above 0 as a float."""
    converted = number(name, value, kinds=kinds)
    if converted <= 0:
        raise ValueError(f"{name}: got {shown(value)}, expected > 0")
    return converted


def integer(name: str, value: object, low: int, high: int) -> int:
    """Return an int from ``low`` to ``high``."""
    bound = f"{low} to {high}"
    if high == LARGEST_COUNT:
        bound = f"{low} or more"
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(
            f"{name}: got {type(value).__name__}, expected an int, {bound}"
        )
    if not low <= value <= high:
        raise ValueError(f"{name}: got {shown(value)}, expected {bound}")
    return value


def positive_int(name: str, value: object) -> int:
    """Return an int from 1 to the largest size of a tensor's axis."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(
            f"{name}: got {type(value).__name__}, expected an int >= 1"
        )
    if value < 1:
        raise ValueError(f"{name}: got {shown(value)}, expected an int >= 1")
    if value > LARGEST_SIZE:
        raise ValueError(
            f"{name}: got {shown(value)}, expected at most {LARGEST_SIZE}"
        )
    return value


def flag(name: str, value: object) -> bool:
    """Return a bool; 0, 1, None and strings are refused."""
    if not isinstance(value, bool):
        raise TypeError(f"{name}: got {shown(value)}, expected True or False")
    return value


def one_of(name: str, value: object, known: Sequence[str]) -> str:
    """Return a string that is one of ``known``."""
    if not isinstance(value, str) or value not in known:
        expected = ", ".join(repr(k) for k in known)
        raise ValueError(
            f"{name}: got {shown(value)}, expected one of {expected}"
        )
    return value
