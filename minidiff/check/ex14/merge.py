"""Exercise 14.1: one merge of byte-pair encoding."""

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.check.ex14.lists import unchanged


def merge(ids: list[int], pair: tuple[int, int], new: int) -> list[int]:
    """Return ids with each pair of neighbours replaced by the id new.

    Read from left to right; an id can be part of one pair only.
    """
    out, i = [], 0
    while i < len(ids):
        if tuple(ids[i : i + 2]) == pair:
            out.append(new)
            i += 2
        else:
            out.append(ids[i])
            i += 1
    return out


def _cases() -> list[Case]:
    return [
        Case(name=f"ids = {ids}, pair = {pair}", args=(ids, pair, 256))
        for ids, pair in (
            ([5, 1, 2, 1, 2, 7], (1, 2)),
            ([1, 1, 1, 4, 1, 1, 1, 1, 3], (1, 1)),
            ([2, 1, 11, 2, 1, 2, 25, 1], (1, 2)),
            ([1, 25, 1, 2], (1, 2)),
            ([7], (7, 7)),
        )
    ]


def _overlapping(ids: list[int], pair: tuple[int, int], new: int) -> list[int]:
    """Ask for a pair at every place, inside pairs already taken too."""
    out, covered = [], False
    for i, token in enumerate(ids):
        here = tuple(ids[i : i + 2]) == pair
        if here:
            out.append(new)
        elif not covered:
            out.append(token)
        covered = here
    return out


def _pair_kept(ids: list[int], pair: tuple[int, int], new: int) -> list[int]:
    """Replace the first of a pair and go on at its second."""
    return [
        new if tuple(ids[i : i + 2]) == pair else token
        for i, token in enumerate(ids)
    ]


def _pair_kept_end_lost(
    ids: list[int], pair: tuple[int, int], new: int
) -> list[int]:
    return _pair_kept(ids, pair, new)[:-1]


def _inserted(ids: list[int], pair: tuple[int, int], new: int) -> list[int]:
    return [
        x
        for i, token in enumerate(ids)
        for x in ([new] if tuple(ids[i : i + 2]) == pair else []) + [token]
    ]


def _from_the_right(
    ids: list[int], pair: tuple[int, int], new: int
) -> list[int]:
    return merge(ids[::-1], pair[::-1], new)[::-1]


def _first_only(ids: list[int], pair: tuple[int, int], new: int) -> list[int]:
    for i in range(len(ids) - 1):
        if (ids[i], ids[i + 1]) == pair:
            return [*ids[:i], new, *ids[i + 2 :]]
    return list(ids)


def _end_lost(ids: list[int], pair: tuple[int, int], new: int) -> list[int]:
    out, i = [], 0
    while i < len(ids) - 1:
        if (ids[i], ids[i + 1]) == pair:
            out.append(new)
            i += 2
        else:
            out.append(ids[i])
            i += 1
    return out


def _past_the_end(
    ids: list[int], pair: tuple[int, int], new: int
) -> list[int]:
    out, i = [], 0
    while i < len(ids):
        if (ids[i], ids[i + 1]) == pair:
            out.append(new)
            i += 2
        else:
            out.append(ids[i])
            i += 1
    return out


def _either_order(
    ids: list[int], pair: tuple[int, int], new: int
) -> list[int]:
    out, i = [], 0
    while i < len(ids):
        if tuple(ids[i : i + 2]) in (pair, pair[::-1]):
            out.append(new)
            i += 2
        else:
            out.append(ids[i])
            i += 1
    return out


def _as_text(ids: list[int], pair: tuple[int, int], new: int) -> list[int]:
    text = " ".join(map(str, ids))
    text = text.replace(f"{pair[0]} {pair[1]}", str(new))
    return [int(part) for part in text.split()]


def _in_place(ids: list[int], pair: tuple[int, int], new: int) -> list[int]:
    ids[:] = merge(ids, pair, new)
    return ids


EXERCISE = Exercise(
    id="14.1",
    run=unchanged,
    cases=_cases,
    solution=merge,
    mistakes=(
        Mistake(
            key="overlapping",
            diagnosis="Of three equal ids you make two pairs: the one in the "
            "middle is used twice. After a pair go on behind it (`i += 1` "
            "inside a `for` has no effect; use `while`).",
            wrong=_overlapping,
        ),
        Mistake(
            key="second stays",
            diagnosis="The second id of a pair is still there. A pair is two "
            "ids long: after it go on two places further.",
            wrong=_pair_kept,
            also=(_pair_kept_end_lost,),
        ),
        Mistake(
            key="pair stays",
            diagnosis="You add the new id and keep the pair. It stands for "
            "both of them.",
            wrong=_inserted,
        ),
        Mistake(
            key="from the right",
            diagnosis="Of three equal ids you pair the last two. Read from "
            "left to right.",
            wrong=_from_the_right,
        ),
        Mistake(
            key="first only",
            diagnosis="You replace the first pair and stop. Replace each.",
            wrong=_first_only,
        ),
        Mistake(
            key="end lost",
            diagnosis="The last id is lost where it is part of no pair: your "
            "loop ends one place early.",
            wrong=_end_lost,
        ),
        Mistake(
            key="past the end",
            diagnosis="At the last id you look at a neighbour that is not "
            "there. A slice, ids[i : i + 2], is shorter there and raises "
            "nothing.",
            wrong=_past_the_end,
        ),
        Mistake(
            key="either order",
            diagnosis="You merge the pair in both orders. (1, 2) and (2, 1) "
            "are two different pairs.",
            wrong=_either_order,
        ),
        Mistake(
            key="each one",
            diagnosis="You replace each of the two ids wherever it stands. "
            "Only both together are the pair.",
            wrong=lambda ids, pair, new: [
                new if x in pair else x for x in ids
            ],
        ),
        Mistake(
            key="as text",
            diagnosis='You replace digits in a text, and "11 2" holds "1 2". '
            "Compare ids as numbers.",
            wrong=_as_text,
        ),
        Mistake(
            key="nothing merged",
            diagnosis="The ids come back as they were. A slice of a list is "
            "a list: it never equals a tuple.",
            wrong=lambda ids, pair, new: list(ids),
        ),
        Mistake(
            key="in place",
            diagnosis="You shorten the list that came in, and whoever gave "
            "it to you has lost it. Append to a new one.",
            wrong=_in_place,
        ),
    ),
    hints=(
        "Walk along the list with an index. What do you append, and how far "
        "do you go on, where a pair begins and where not?",
        "Where a pair begins: append new and go on 2 places. Else: append "
        "ids[i] and go on 1.",
        "while i < len(ids): and in it if tuple(ids[i : i + 2]) == pair.",
    ),
)
