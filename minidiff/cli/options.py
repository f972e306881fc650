"""Values of options: each is refused by the option's name if it is odd."""

import argparse
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from minidiff.cli.parser import did_you_mean
from minidiff.files.checks import shown

MOST = 2**53  # the largest count that every file format holds


class _Checked(argparse.Action):
    """An option whose values are checked: one, or each of several."""

    def __init__(self, *args: Any, low: Any, high: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.low, self.high = low, high

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Store the value, or raise a ValueError that names the option."""
        name = self.option_strings[0] if self.option_strings else self.metavar
        for value in values if isinstance(values, list) else [values]:
            wanted = self.wanted(value)
            if wanted is not None:
                raise ValueError(
                    f"{name}: got {shown(value)}, expected {wanted}"
                )
        setattr(namespace, self.dest, values)

    def wanted(self, value: Any) -> str | None:
        """Return what was expected, or None if the value is good."""
        if self.low <= value <= self.high:
            return None
        if value < self.low:
            return f"{self.low} or more"
        if value > self.high:
            return f"at most {self.high}"
        return "a finite number"


class _Name(_Checked):
    """The name of a file, a folder or a column."""

    def wanted(self, value: Any) -> str | None:
        """Return what was expected, or None if the value is good."""
        return None if value and "\0" not in value else "a name"


class _Above(_Checked):
    """A number above ``low``."""

    def wanted(self, value: Any) -> str | None:
        """Return what was expected, or None if the value is good."""
        if self.low < value <= self.high:
            return None
        most = "" if self.high == LARGEST else f", at most {self.high:g}"
        return f"a finite number above {self.low:g}{most}"


LARGEST = 1e300


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"got {shown(text)}, expected a whole number"
        ) from None


def _real(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"got {shown(text)}, expected a number"
        ) from None


def whole(low: int = 1, high: int = MOST) -> dict[str, Any]:
    """Return the keywords of an option that takes whole numbers."""
    return {"action": _Checked, "type": _whole, "low": low, "high": high}


def real(low: float, high: float = LARGEST) -> dict[str, Any]:
    """Return the keywords of an option that takes numbers from low on."""
    return {"action": _Checked, "type": _real, "low": low, "high": high}


def above(low: float, high: float = LARGEST) -> dict[str, Any]:
    """Return the keywords of an option that takes numbers above low."""
    return {"action": _Above, "type": _real, "low": low, "high": high}


def named() -> dict[str, Any]:
    """Return the keywords of an option that takes a name, never empty."""
    return {"action": _Name, "low": None, "high": None}


def numbers(low: int = 1, high: int = MOST) -> Any:
    """Return the type of an option that takes numbers with commas."""

    def parse(text: str) -> tuple[int, ...]:
        try:
            found = tuple(int(part) for part in text.split(","))
        except ValueError:
            found = ()
        if not found or min(found) < low or max(found) > high:
            raise argparse.ArgumentTypeError(
                f"got {shown(text)}, expected numbers from {low} to {high} "
                "with commas between them"
            )
        return found

    return parse


def names(known: Sequence[str]) -> Any:
    """Return the type of an option that takes known names with commas."""

    def parse(text: str) -> list[str]:
        found = text.split(",")
        for part in found:
            if part not in known:
                raise argparse.ArgumentTypeError(
                    f"got {shown(part)}, expected some of {', '.join(known)}"
                    + did_you_mean(part, known)
                )
        return found

    return parse


def check_source(option: str, given: str, known: Sequence[str]) -> None:
    """Raise ValueError unless text comes from a known name or a path."""
    if given in known or os.path.lexists(os.path.expanduser(given)):
        return
    raise ValueError(
        f"{option}: got {given}, expected a folder or a text file that "
        f"exists, or one of {', '.join(known)}{did_you_mean(given, known)}"
    )


@contextmanager
def as_options(options: Mapping[str, str]) -> Iterator[None]:
    """Name options instead of arguments in the error of a function.

    ``options`` maps the names of arguments to the options they come from.
    """
    try:
        yield
    except (TypeError, ValueError) as error:
        text = _with_options(str(error), options)
        if text == str(error):
            raise
        raise ValueError(text) from error


def _with_options(text: str, options: Mapping[str, str]) -> str:
    """Return an error's text with options in place of arguments.

    The arguments at the start are replaced. Behind them only names with an
    underscore are, because the others are English words too. An error that
    begins with something else, such as a file, stays as it is.
    """
    start, colon, rest = text.partition(":")
    names = start.split(", ")
    if all(name in options for name in names):
        start = ", ".join(options[name] for name in names)
    elif not start.startswith("--"):
        return text
    for name, option in options.items():
        if "_" in name:
            rest = re.sub(rf"(?<![\w/.-]){name}(?![\w/.-])", option, rest)
    return start + colon + rest
