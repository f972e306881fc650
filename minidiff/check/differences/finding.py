"""One sentence on how an answer's results differ from the right ones."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """A true sentence about a wrong answer.

    ``telling`` is False if it does not yet say what is wrong: "right in the
    first row", for one, may be so whatever the answer does.
    """

    text: str
    telling: bool = True


def listed(names: Sequence[str], between: str = " and ") -> str:
    """Join the first names of a list."""
    shown = between.join(names[:3])
    return shown + (f"{between}others" if len(names) > 3 else "")
