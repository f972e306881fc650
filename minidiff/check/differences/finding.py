"""One sentence on how an answer's results differ from the right ones."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """A true sentence about a wrong answer.

    ``telling`` is False if it does not yet say what is wrong: "right in the
    first row", for one, may be so whatever the answer does.
    """

    text: str
    telling: bool = True
