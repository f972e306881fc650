"""The six parts of the course, and what a reader has done after each."""

from typing import NamedTuple


class Part(NamedTuple):
    """A part: its chapters, its problem set and its milestone."""

    name: str
    chapters: tuple[str, ...]
    problems: str
    milestone: str


def _part(name: str, first: int, last: int, n: int, milestone: str) -> Part:
    chapters = tuple(f"{c:02}" for c in range(first, last + 1))
    return Part(name, chapters, f"P{n}", milestone)


PARTS = (
    _part(
        "I",
        *(0, 4, 1),
        "you have computed differential attention and every gradient of it "
        "by hand",
    ),
    _part(
        "II",
        *(5, 8, 2),
        "you have built a whole DIFF Transformer, and repaired those of "
        "others",
    ),
    _part(
        "III",
        *(9, 13, 3),
        "you have written fused kernels, forward and backward, that never "
        "hold a map",
    ),
    _part(
        "IV",
        *(14, 17, 4),
        "you have trained your own model with your own loop, and let it write",
    ),
    _part(
        "V",
        *(18, 24, 5),
        "you can say what differential attention gains, by how much, and how "
        "sure that is",
    ),
    _part(
        "VI",
        *(25, 27, 6),
        "you have followed the idea to where it is still moving",
    ),
)


def part_of(name: str) -> Part:
    """Return the part of a chapter, "03", or of a problem set, "P1"."""
    for part in PARTS:
        if name in part.chapters or name == part.problems:
            return part
    raise ValueError(f"name: got {name!r}, expected a chapter, such as '03'")
