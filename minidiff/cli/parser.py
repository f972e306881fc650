"""Parsers whose help keeps its line breaks and whose errors take one line."""

import argparse
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any, NoReturn

from minidiff.files.checks import shown

REQUIRED = "the following arguments are required: "


class Parser(argparse.ArgumentParser):
    """A parser whose errors have the form of all other errors.

    An error of argparse comes after a list of all options. Here it is a
    ValueError, which ``main`` prints like that of a wrong value: the option,
    what came and what was expected.
    """

    def error(self, message: str) -> NoReturn:
        """Raise the error; the parameter is what argparse says of it."""
        text = message.removeprefix("argument ")
        if text.startswith(REQUIRED):
            text = f"{text.removeprefix(REQUIRED)}: not given"
        raise ValueError(f"{text} (see {self.prog} --help)")

    def parse_known_args(
        self, args: Any = None, namespace: Any = None
    ) -> tuple[Any, list[str]]:
        """Parse, and refuse what is left over by the command's own parser."""
        found, rest = super().parse_known_args(args, namespace)
        if rest:
            near = did_you_mean(rest[0], self._option_string_actions)
            self.error(f"{rest[0]}: not known here{near}")
        return found, rest

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Refuse a value that is none of an option's choices."""
        if action.choices is None or value in action.choices:
            return
        known = [str(choice) for choice in action.choices]
        raise argparse.ArgumentError(
            action,
            f"got {shown(value)}, expected one of {', '.join(known)}"
            + did_you_mean(value, known),
        )


def did_you_mean(given: object, known: Iterable[str]) -> str:
    """Return a suggestion of the known word that is nearest, or ""."""
    near = get_close_matches(str(given), list(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""


def new_parser(make: Any, **options: Any) -> argparse.ArgumentParser:
    """Call ``make`` with a formatter that keeps the text's line breaks."""
    return make(
        formatter_class=argparse.RawDescriptionHelpFormatter, **options
    )
