"""Exercise 10.3: which blocks of keys need a mask, and which are skipped."""

from collections.abc import Callable

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.check.edited import slip
from minidiff.course.kernels.flash import blocks_seen

Blocks = tuple[int, int, int]


def _cases() -> list[Case]:
    return [
        Case(
            name=f"block {i_t} of T = {T}, S = {S}, BT = {BT}, BS = {BS}",
            args=(i_t, T, S, BT, BS),
        )
        for i_t, T, S, BT, BS in (
            (0, 1, 1, 16, 16),
            (0, 64, 64, 16, 16),
            (2, 64, 64, 16, 16),
            (1, 64, 64, 32, 16),
            (3, 128, 128, 16, 32),
            (0, 33, 34, 16, 16),
            (0, 33, 97, 16, 16),
            (2, 33, 50, 16, 16),
            (1, 32, 47, 16, 16),
            (0, 17, 64, 16, 8),
            (2, 40, 60, 16, 32),
        )
    ]


def _place(i_t: int, T: int, S: int, BT: int) -> int:
    """The last key that the block's first query sees."""
    return i_t * BT + S - T


def _like(
    *,
    first: Callable[[int, int, int, int], int] = (
        lambda i_t, T, S, BT: i_t * BT + S - T + 1
    ),
    clip: bool = True,
    whole: Callable[[int, int, int], int] = lambda f, S, BS: min(S, f) // BS,
    more: Callable[[int], int] = lambda BT: BT - 1,
    up: Callable[[int, int], int] = lambda n, BS: -(-n // BS),
    all_blocks: Callable[[int, int], int] = lambda n, BS: -(-n // BS),
) -> Callable[[int, int, int, int, int], Blocks]:
    """The count with something about it changed: the mistakes below."""

    def wrong(i_t: int, T: int, S: int, BT: int, BS: int) -> Blocks:
        f = first(i_t, T, S, BT)
        last = f + more(BT)
        visited = up(min(S, last) if clip else last, BS)
        n = whole(f, S, BS)
        return n, visited - n, all_blocks(S, BS) - visited

    return wrong


def _one_row(i_t: int, T: int, S: int, BT: int, BS: int) -> Blocks:
    """The edges of the block's last query alone."""
    last = min(S, (i_t + 1) * BT + S - T)
    whole, visited = last // BS, -(-last // BS)
    return whole, visited - whole, -(-S // BS) - visited


def _last_places(i_t: int, T: int, S: int, BT: int, BS: int) -> Blocks:
    """The places of the last keys that are seen, taken for their numbers."""
    first, last = (t + S - T for t in (i_t * BT, min(T, (i_t + 1) * BT) - 1))
    whole, visited = first // BS, -(-last // BS)
    return whole, visited - whole, -(-S // BS) - visited


def _one_masked(whole: int, blocks: int) -> Blocks:
    return whole, 1, blocks - whole - 1


def _visited(whole: int, masked: int, skipped: int) -> Blocks:
    return whole, whole + masked, skipped


def _keys(first: int, last: int, S: int) -> Blocks:
    return first, last - first, S - last


EXERCISE = Exercise(
    id="10.3",
    cases=_cases,
    solution=blocks_seen,
    mistakes=(
        Mistake(
            key="off by one",
            diagnosis="Query t sees keys 0 to t + S - T, which are "
            "t + S - T + 1 of them, for the first query of the block as for "
            "the last, i_t * BT + BT - 1.",
            wrong=_like(first=_place),
            also=(
                _last_places,
                _like(first=_place, clip=False),
                _like(first=_place, clip=False, more=lambda BT: BT),
                _like(whole=lambda f, S, BS: min(S, f - 1) // BS),
                _like(more=lambda BT: BT - 2),
                _like(more=lambda BT: BT),
                _like(up=lambda n, BS: -(-(n - 1) // BS)),
            ),
        ),
        Mistake(
            key="aligned to the start",
            diagnosis="You let query t see keys 0 to t. With more keys than "
            "queries it sees S - T more: the last query sees all keys.",
            wrong=_like(first=lambda i_t, T, S, BT: i_t * BT + 1),
        ),
        Mistake(
            key="whole for the last query",
            diagnosis="You call a block whole if the *last* query sees all "
            "of it. Every query of the block must: ask the first, which sees "
            "the fewest keys.",
            wrong=_one_row,
            also=(
                _like(whole=lambda f, S, BS: min(S, -(-f // BS) * BS) // BS),
            ),
        ),
        Mistake(
            key="whole rounded up",
            diagnosis="A block that the first query sees in part counts as "
            "whole. It needs a mask: divide by BS rounding down.",
            wrong=_like(whole=lambda f, S, BS: -(-min(S, f) // BS)),
        ),
        Mistake(
            key="always one masked",
            diagnosis="You take one block to be masked, always. Where BT is "
            "larger than BS the diagonal crosses several: masked is what is "
            "visited and not whole.",
            wrong=lambda i_t, T, S, BT, BS: _one_masked(
                min(S, i_t * BT + S - T + 1) // BS, -(-S // BS)
            ),
        ),
        Mistake(
            key="visited for masked",
            diagnosis="Your second number counts every block that is "
            "visited, the whole ones too. Subtract them.",
            wrong=lambda *given: _visited(*blocks_seen(*given)),
        ),
        Mistake(
            key="skipped for the first query",
            diagnosis="You skip what the *first* query does not see. The "
            "last query of the block sees BT - 1 keys more: skip only what it "
            "does not see either.",
            wrong=_like(more=lambda BT: 0),
        ),
        Mistake(
            key="short block taken as whole",
            diagnosis="The last block of keys may be cut short by S. Its "
            "missing keys need a mask, so it is not whole.",
            wrong=_like(
                whole=lambda f, S, BS: -(-S // BS) if f >= S else f // BS
            ),
        ),
        Mistake(
            key="keys beyond S",
            diagnosis="You visit blocks that do not exist: the last block of "
            "queries may stick out beyond T. No query sees more than S keys: "
            "take the minimum.",
            wrong=_like(clip=False),
            also=(_like(clip=False, whole=lambda f, S, BS: f // BS),),
        ),
        Mistake(
            key="short block forgotten",
            diagnosis="S // BS leaves out the last block of keys if it is "
            "cut short. Round up: -(-S // BS), or triton.cdiv.",
            wrong=_like(all_blocks=lambda n, BS: n // BS),
            also=(
                _like(
                    all_blocks=lambda n, BS: n // BS,
                    up=lambda n, BS: n // BS,
                ),
                _like(up=lambda n, BS: n // BS),
            ),
        ),
        Mistake(
            key="tiles exchanged",
            diagnosis="BT and BS have changed places: BT queries make a block "
            "of queries, BS keys a block of keys.",
            wrong=lambda i_t, T, S, BT, BS: blocks_seen(i_t, T, S, BS, BT),
        ),
        Mistake(
            key="keys, not blocks",
            diagnosis="You count keys. The question is blocks of BS keys.",
            wrong=lambda i_t, T, S, BT, BS: tuple(
                n * BS for n in blocks_seen(i_t, T, S, BT, BS)
            ),
            also=(
                lambda i_t, T, S, BT, BS: _keys(
                    i_t * BT + S - T + 1, min(S, (i_t + 1) * BT + S - T), S
                ),
            ),
        ),
        Mistake(
            key="order",
            diagnosis="The three numbers are right, in another order. Return "
            "whole, masked, skipped.",
            wrong=lambda *given: blocks_seen(*given)[::-1],
            also=(
                lambda *given: tuple(
                    blocks_seen(*given)[i] for i in (1, 0, 2)
                ),
                lambda *given: tuple(
                    blocks_seen(*given)[i] for i in (0, 2, 1)
                ),
            ),
        ),
        slip(
            "place of the block left out",
            "Your first query is not that of block i_t: it is number i_t * "
            "BT.",
            blocks_seen,
            ("first = i_t * BT +", "first ="),
            ("first = i_t * BT +", "first = i_t +"),
            ("first = i_t * BT +", "first = BT +"),
        ),
        slip(
            "T left out",
            "Query t sees S - T keys beyond its own number. You add S.",
            blocks_seen,
            ("S - T + 1", "S + 1"),
        ),
        slip(
            "every block skipped",
            "Your third number counts all blocks, or those that are "
            "visited. Skipped are all that are not visited.",
            blocks_seen,
            ("-(-S // BS) - visited", "-(-S // BS)"),
            ("-(-S // BS) - visited", "visited"),
        ),
    ),
    hints=(
        "Which query of the block sees the fewest keys, which the most? One "
        "of them decides what is whole, the other what is skipped.",
        "The first query sees i_t * BT + S - T + 1 keys, the last BT - 1 "
        "more, but nobody sees more than S.",
        "first = i_t * BT + S - T + 1; whole = min(S, first) // BS; visited = "
        "-(-min(S, first + BT - 1) // BS), rounded up; return whole, "
        "visited - whole, -(-S // BS) - visited.",
    ),
)
