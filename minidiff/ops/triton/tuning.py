"""Block shapes: looked up in a table, never tuned while a program runs."""

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

TABLE = Path(__file__).with_name("shapes.json")


@dataclass(frozen=True, kw_only=True)
class Shape:
    """How a kernel cuts its work.

    BT queries by BS keys at a time, so many warps, so many blocks on their
    way at once. ``together``: the forward kernel's two branches in step.
    ``tma``: blocks are moved by the copy engine that Hopper brought.
    ``roles``: warps have roles, as in hopper/keys.py; two groups of so many
    warps each, with BS keys (or BT queries) of their own.
    """

    BT: int
    BS: int
    warps: int
    stages: int
    together: bool = False
    tma: bool = False
    roles: bool = False

    def blocks(self) -> dict[str, int]:
        """As the arguments of a kernel."""
        return {
            "BT": self.BT,
            "BS": self.BS,
            "num_warps": self.warps,
            "num_stages": self.stages,
        }


@lru_cache
def table(path: Path = TABLE) -> list[dict[str, Any]]:
    """The rows of the table, each a case and its shape."""
    return json.loads(path.read_text(encoding="utf-8"))["rows"]


def fits_roles(row: dict[str, Any], D: int, DV: int, roles: bool) -> bool:
    """Whether a row has no roles, or may have them at these very widths."""
    if not row["shape"] or not row["shape"].get("roles"):
        return True
    return roles and (row["case"]["D"], row["case"]["DV"]) == (D, DV)


@lru_cache(maxsize=256)
def choose(
    kernel: str,
    *,
    D: int,
    DV: int,
    P: int,
    bits: int,
    length: int,
    capability: int,
    roles: bool = True,
) -> Shape | None:
    """Find the shape of a kernel: the first row of the table that fits.

    A row fits if it names the kernel, the number of bits of an entry, at
    least these widths, P where it names one, at most this capability, at
    least this many keys. "below" ends a range of capabilities: what follows
    the data-centre cards of 9.x and 10.x has less shared memory again.
    Rows with roles are for the widths they name only, and where ``roles``.
    None if there is none: "values" has a shape only where "keys" leaves the
    values to a kernel of their own.
    """
    for row in table():
        case = row["case"]
        if (
            case["kernel"] == kernel
            and case["bits"] == bits
            and case["D"] >= D
            and case["DV"] >= DV
            and fits_roles(row, D, DV, roles)
            and case.get("P", P) == P
            and case["capability"] <= capability < case.get("below", 1000)
            and case.get("length", length) >= length
        ):
            return row["shape"] and Shape(**row["shape"])
    return None
