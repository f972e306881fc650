"""A row of book/evidence.md, and the records that the rows read."""

from dataclasses import dataclass
from typing import Protocol

from builder.contrasts import Found, Read

PAIR, TEXT = "pair.json", "text.json"
POOL, POOL_LONG = "pool.json", "pool_long.json"
# The contrasts of the pool: what a row is called, and the kind beside diff.
CONTRASTS = (("larger models", "plain"), ("their control", "sum"))
RACE, MQAR = "needle_race.json", "mqar.json"
ABLATIONS, RACED = "ablations.json", "race_ablations.json"

NO_FIGURE = "no figure"


class Comparison(Protocol):
    """A comparison that can be looked up in the records."""

    @property
    def record(self) -> str:
        """Return the name of the record that it reads."""

    def find(self, read: Read) -> Found:
        """Return our side of a row."""


@dataclass(frozen=True)
class Claim:
    """A row: what is claimed, the paper's figure, what we compare.

    ``fixed`` says whether metric and contrast were fixed before the run, and
    their result was not known from an earlier one.
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
