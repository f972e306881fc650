"""Exercise 16.1: bytes that a cache holds for one token."""

from collections.abc import Callable

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.check.edited import slip


def bytes_per_token(kind: str, L: int, Hkv: int, D: int, size: int) -> int:
    """Return the bytes that all L layers cache for one token.

    kind: "softmax", "diff" (V1) or "diff_v2". Hkv: key/value heads in a
    layer, the real number in a model of that kind. D: width of one query or
    key. size: bytes of one number.
    """
    if kind == "diff":
        keys, values = 2 * D, 2 * D
    else:
        keys, values = D, D
    return size * L * Hkv * (keys + values)


def _cases() -> list[Case]:
    return [
        Case(
            name=f"{kind}, L = {L}, Hkv = {Hkv}, D = {D}, {size} bytes",
            args=(kind, L, Hkv, D, size),
        )
        for L, Hkv, D, size in ((1, 1, 4, 4), (2, 3, 8, 4), (28, 12, 128, 2))
        for kind in ("softmax", "diff", "diff_v2")
    ]


def _widths(softmax: int, diff: int, v2: int) -> Callable[..., int]:
    """Multiples of D that a head holds, by kind."""
    widths = {"softmax": softmax, "diff": diff, "diff_v2": v2}

    def count(kind: str, L: int, Hkv: int, D: int, size: int) -> int:
        return size * L * Hkv * widths[kind] * D

    return count


def _without(name: str) -> Callable[..., float]:
    """Leave one factor out."""

    def count(kind: str, L: int, Hkv: int, D: int, size: int) -> float:
        given = {"L": L, "Hkv": Hkv, "size": size}
        return bytes_per_token(kind, L, Hkv, D, size) / given[name]

    return count


EXERCISE = Exercise(
    id="16.1",
    cases=_cases,
    solution=bytes_per_token,
    tolerance=1e-12,
    mistakes=(
        Mistake(
            key="V1 as plain",
            diagnosis="V1 comes out like a plain head. It has two keys of "
            "width D, and its value is 2D wide.",
            wrong=_widths(2, 2, 2),
        ),
        Mistake(
            key="V1 3D",
            diagnosis="You count 3D for a V1 head. Two keys of width D and "
            "a value of 2D are 4D: count both.",
            wrong=_widths(2, 3, 2),
        ),
        Mistake(
            key="V1 a value a branch",
            diagnosis="You count 6D for a V1 head. Its two branches share "
            "one value of width 2D.",
            wrong=_widths(2, 6, 2),
        ),
        Mistake(
            key="V2 as V1",
            diagnosis="You count 4D for a V2 head, as for V1. It holds one "
            "key and one value, each D wide: its two queries share that key, "
            "and the value is not 2D wide.",
            wrong=_widths(2, 4, 4),
        ),
        Mistake(
            key="V2 3D",
            diagnosis="You count 3D for a V2 head: two keys, or a value 2D "
            "wide. It holds one key and one value, each D wide. Only its "
            "queries come in twos.",
            wrong=_widths(2, 4, 3),
        ),
        Mistake(
            key="kinds mixed up",
            diagnosis="V1 and V2 have changed places. V1 has two keys and a "
            "value 2D wide, V2 one key and a value D wide.",
            wrong=_widths(2, 2, 4),
        ),
        Mistake(
            key="twice the heads",
            diagnosis="V1 comes out as large as plain for each head. Whole "
            "models are equal, as plain ones have twice the heads, but Hkv "
            "says that already: a V1 head holds twice what a plain one does.",
            wrong=_widths(4, 4, 2),
            also=(_widths(2, 2, 1),),
        ),
        Mistake(
            key="half",
            diagnosis="You count keys or values only. The cache holds both.",
            wrong=_widths(1, 2, 1),
        ),
        Mistake(
            key="queries too",
            diagnosis="You count the queries as well. A query is used once, "
            "by its own token: nobody keeps it.",
            wrong=_widths(3, 6, 4),
            also=(
                _widths(2, 6, 4),
                _widths(3, 6, 3),
                _widths(3, 5, 3),
                _widths(3, 5, 4),
            ),
        ),
        Mistake(
            key="one layer",
            diagnosis="You count one layer. Each of L layers has its own "
            "keys and values.",
            wrong=_without("L"),
        ),
        Mistake(
            key="one head",
            diagnosis="You count one head. A layer has Hkv of them.",
            wrong=_without("Hkv"),
        ),
        Mistake(
            key="numbers, not bytes",
            diagnosis="You return numbers. Each takes size bytes.",
            wrong=_without("size"),
        ),
        Mistake(
            key="bits",
            diagnosis="You return bits. size is in bytes already.",
            wrong=lambda *args: 8 * bytes_per_token(*args),
        ),
        slip(
            "V1 5D",
            "You count 5D for a V1 head: one too many. It has two keys of "
            "width D and a value of 2D.",
            bytes_per_token,
            ("2 * D, 2 * D", "3 * D, 2 * D"),
            ("2 * D, 2 * D", "2 * D, 3 * D"),
        ),
    ),
    hints=(
        "What does a later token need from this one, in one head of one "
        "layer? Write the widths down for each kind.",
        "Plain: key D, value D. V1: keys D and D, value 2D. V2: key D, "
        "value D.",
        "size * L * Hkv * (keys + values), with keys = values = 2 * D for "
        '"diff" and D for the other two.',
    ),
)
