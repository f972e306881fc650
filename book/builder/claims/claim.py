"""A row of book/evidence.md, and the records that the rows read."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from builder.contrasts import Found, Read

# The mixture's pair: the newer record takes the older one's place.
PAIR = "pair.json", "pair_64_rows.json"
TEXT, POOL = ("text.json",), ("pool.json",)
RACE, MQAR = ("needle_race.json",), ("mqar.json",)
ABLATIONS, RACED = ("ablations.json",), ("race_ablations.json",)

NO_FIGURE = "no figure"


class Comparison(Protocol):
    """A comparison that can be looked up in the records."""

    @property
    def records(self) -> Sequence[str]:
        """Return the records it reads, the newest first."""

    def find(self, read: Read) -> Found:
        """Return our side of a row."""


@dataclass(frozen=True)
class Claim:
    """A row: what is claimed, the paper's figure, what we compare.

    ``fixed`` says whether metric and contrast were fixed before the run.
    """

    claim: str
    paper: str
    compared: str
    comparison: Comparison
    fixed: bool = False


@dataclass(frozen=True)
class Section:
    """The claims of one chapter."""

    chapter: int
    title: str
    claims: tuple[Claim, ...]
