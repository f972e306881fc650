"""Block shapes of the kernels, from a table made ahead of time."""

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from minidiff.files.json import read_json
from minidiff.files.schema import anything, fields, list_of, map_of
from minidiff.ops.low_bit_products import KEY_BLOCK, QUERY_BLOCK

TABLE = Path(__file__).with_name("shapes.json")
# Codes of 8 bits that one thread loads at once: 16 bytes, the most there is.
LOADED = 16


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Block sizes and launch options of a kernel.

    BT, BS : queries and keys in one tile
    warps : warps of a program
    stages : blocks that are loaded ahead, the depth of the software pipeline
    together : the forward kernel computes both branches in the same loop
    tma : blocks are moved by TMA, the copy engine of Hopper and later GPUs
    roles : warps are specialised, as in hopper/keys.py; there are two consumer
        groups of ``warps`` warps, each with its own BS keys (or BT queries)
    """

    BT: int
    BS: int
    warps: int
    stages: int
    together: bool = False
    tma: bool = False
    roles: bool = False

    def blocks(self) -> dict[str, int]:
        """Return the arguments that every kernel takes."""
        return {
            "BT": self.BT,
            "BS": self.BS,
            "num_warps": self.warps,
            "num_stages": self.stages,
        }


def for_codes(shape: Shape) -> Shape:
    """Return a decode kernel's shape where it reads 8 bits.

    Converting the codes takes registers: with 2 warps they are spilled.
    """
    return replace(shape, warps=max(4, shape.warps))


def for_row(D: int, warps: int = 4, stages: int = 3, keys: int = 2) -> Shape:
    """Return a shape of the kernel that decodes one row from 8 bits.

    A block has ``keys`` keys of each stream. More of them, or more stages,
    take more registers, and 2 programs must fit on a multiprocessor.
    """
    BS = keys * streams(D, warps)
    return Shape(BT=1, BS=BS, warps=warps, stages=stages)


def streams(D: int, warps: int) -> int:
    """Return the number of keys that a block of threads loads at once."""
    return 32 * warps * LOADED // D


def for_products(shape: Shape) -> Shape:
    """Return a forward kernel's shape where it multiplies 8 bits.

    A tile lies in one block of numbers that share a scale.
    """
    BT, BS = min(shape.BT, QUERY_BLOCK), min(shape.BS, KEY_BLOCK)
    return replace(shape, BT=BT, BS=BS)


@lru_cache
def table(path: Path = TABLE) -> list[dict[str, Any]]:
    """Return the rows of the table; each has a "case" and its "shape"."""
    rows = list_of(fields({"case": map_of(anything), "shape": anything}))
    return read_json(path, fields({"rows": rows}), "block shapes")["rows"]


def fits_roles(row: dict[str, Any], D: int, DV: int, roles: bool) -> bool:
    """Tell whether a row may be used as far as its ``roles`` are concerned.

    A row with roles needs ``roles`` to be allowed and exactly these widths.
    """
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
    """Return the shape of a kernel from the first matching row of the table.

    A row matches if

    - its kernel and its number of bits of an entry are the same;
    - its D and DV are at least the given widths;
    - its P, if it names one, is the same;
    - its capability is at most the given one, and its "below", if it has one,
      is above it (consumer GPUs after the data-centre cards of 9.x and 10.x
      have less shared memory again);
    - its length, if it has one, is at least the given number of keys;
    - it has no roles, or ``roles`` is set and its widths are exactly these.

    Return None if no row matches or the row has no shape. "values" has a
    shape only where dv is computed by a kernel of its own instead of by
    "keys".
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
