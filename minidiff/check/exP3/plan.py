"""Problem P3.3: how many splits keep a GPU busy."""

from collections.abc import Callable
from math import ceil, floor
from typing import Any

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.check.edited import slip


def plan(N: int, S: int, BS: int, places: int, extra: int) -> tuple[int, int]:
    """Return the best number of splits, and the time it takes.

    N heads have S keys each, in blocks of BS; the last block may be cut
    short and takes as long. A split is some whole blocks, as many in each
    split of a head, the last may have fewer. One program for each head and
    split: it takes one unit of time for each block of a split, and extra
    units more. As many programs as there are places run at once, and when
    they are done, the next ones do: a round, which takes as long as a full
    split. The fewest splits, if several numbers of them are best.
    """
    n = -(-S // BS)
    best = []
    for blocks in range(1, n + 1):
        splits = -(-n // blocks)
        rounds = -(-N * splits // places)
        best.append((rounds * (blocks + extra), splits))
    time, splits = min(best)
    return splits, time


def _like(
    *,
    blocks_of: Callable[[float], int] = ceil,
    rounds: Callable[..., float] = lambda N, s, p: ceil(N * s / p),
    time: Callable[..., float] = lambda r, b, e: r * (b + e),
    most: bool = False,
    allowed: Callable[..., bool] = lambda N, s, p, b: True,
    result: Callable[..., Any] = lambda splits, time, blocks: (splits, time),
) -> Callable[..., Any]:
    """The search with one expression changed: the mistakes below."""

    def wrong(N: int, S: int, BS: int, places: int, extra: int) -> Any:
        n, found = blocks_of(S / BS), []
        for blocks in range(1, n + 1):
            splits = ceil(n / blocks)
            r = rounds(N, splits, places)
            if splits == 1 or allowed(N, splits, places, blocks):
                order = -splits if most else splits
                found.append((time(r, blocks, extra), order, splits, blocks))
        took, _, splits, blocks = min(found)
        return result(splits, took, blocks)

    return wrong


def _by_splits(
    *,
    blocks: Callable[[int, int], int] = lambda n, s: ceil(n / s),
    equal: bool = False,
    stop: Callable[..., bool] = lambda now, best: False,
) -> Callable[..., Any]:
    """The search over numbers of splits, with a mistake."""

    def wrong(N: int, S: int, BS: int, places: int, extra: int) -> Any:
        n, best = ceil(S / BS), (float("inf"), 0)
        for splits in range(1, n + 1):
            each, rounds = blocks(n, splits), ceil(N * splits / places)
            now = rounds * (each + extra), splits
            if stop(now, best):
                break
            if not (equal and n % splits):
                best = min(best, now)
        return best[1], best[0]

    return wrong


def _cases() -> list[Case]:
    return [
        Case(
            name=f"N = {N}, S = {S}, BS = {BS}, {places} places, extra = "
            f"{extra}",
            args=(N, S, BS, places, extra),
        )
        for N, S, BS, places, extra in (
            (3, 144, 16, 8, 1),
            (4, 128, 16, 8, 1),
            (1, 16, 16, 8, 1),
            (3, 185, 16, 8, 0),
            (5, 330, 16, 12, 2),
            (64, 8192, 64, 264, 1),
            (300, 1000, 64, 264, 1),
        )
    ]


EXERCISE = Exercise(
    id="P3.3",
    cases=_cases,
    solution=plan,
    mistakes=(
        Mistake(
            key="rounds not rounded up",
            diagnosis="You count fractions of a round. A round that is begun "
            "takes as long as a full one: round up.",
            wrong=_like(rounds=lambda N, s, p: N * s / p),
        ),
        Mistake(
            key="rounds rounded down",
            diagnosis="The last round is missing: programs left over when the "
            "full rounds are done need one more.",
            wrong=_like(rounds=lambda N, s, p: max(1, floor(N * s / p))),
            also=(_like(rounds=lambda N, s, p: N * s // p),),
        ),
        Mistake(
            key="full rounds and one more",
            diagnosis="Where programs fill their rounds exactly, you count "
            "one round too many. Rounding down and adding 1 is not rounding "
            "up.",
            wrong=_like(rounds=lambda N, s, p: N * s // p + 1),
        ),
        Mistake(
            key="blocks rounded down",
            diagnosis="Blocks of a split are rounded down, so the splits "
            "together have fewer blocks than there are. Only the last may "
            "have fewer than the others: round up.",
            wrong=_by_splits(blocks=lambda n, s: n // s),
        ),
        Mistake(
            key="equal splits only",
            diagnosis="You try only numbers of splits that divide the blocks "
            "evenly. The last split may have fewer.",
            wrong=_by_splits(equal=True),
        ),
        Mistake(
            key="stopped at the first rise",
            diagnosis="You stop where one more split first makes it no "
            "faster. Further on the time may fall again: look at all of them.",
            wrong=_by_splits(stop=lambda now, best: now[0] > best[0]),
            also=(_by_splits(stop=lambda now, best: now > best),),
        ),
        Mistake(
            key="one round only",
            diagnosis="You look only at numbers of splits whose programs fit "
            "into one round. Several rounds of shorter splits may be faster.",
            wrong=_like(allowed=lambda N, s, p, b: N * s <= p),
        ),
        Mistake(
            key="always one block",
            diagnosis="You cut as finely as can be, a block a split. Each "
            "round costs `extra` again: look for the least time.",
            wrong=_like(allowed=lambda N, s, p, b: b == 1),
            also=(
                lambda N, S, BS, places, extra: (
                    ceil(S / BS),
                    ceil(N * ceil(S / BS) / places) * (1 + extra),
                ),
            ),
        ),
        Mistake(
            key="extra left out",
            diagnosis="`extra` is not in the time. Each round takes blocks + "
            "extra.",
            wrong=_like(time=lambda r, b, e: r * b),
        ),
        Mistake(
            key="extra once",
            diagnosis="`extra` is counted once. Every program has it, so each "
            "round takes blocks + extra.",
            wrong=_like(time=lambda r, b, e: r * b + e),
        ),
        Mistake(
            key="heads forgotten",
            diagnosis="You count the splits of one head. There are N of "
            "them: N * splits programs.",
            wrong=_like(rounds=lambda N, s, p: ceil(s / p)),
        ),
        Mistake(
            key="each head rounded up",
            diagnosis="You round up for each head. The programs of all heads "
            "share the rounds: round once.",
            wrong=_like(rounds=lambda N, s, p: N * ceil(s / p)),
        ),
        Mistake(
            key="last block forgotten",
            diagnosis="S / BS is rounded down: the block that is cut short is "
            "missing.",
            wrong=_like(blocks_of=floor),
        ),
        Mistake(
            key="most splits",
            diagnosis="The time is right. Where several numbers of splits "
            "take it, the fewest are asked for.",
            wrong=_like(most=True),
        ),
        Mistake(
            key="in the other order",
            diagnosis="Both numbers are right, in the other order: the splits "
            "come first, then the time.",
            wrong=_like(result=lambda splits, time, blocks: (time, splits)),
        ),
        Mistake(
            key="blocks returned",
            diagnosis="You return how many blocks a split has. Asked for is "
            "how many splits.",
            wrong=_like(result=lambda splits, time, blocks: (blocks, time)),
        ),
        slip(
            "longest time",
            "You take the longest time. Asked for is the shortest.",
            plan,
            ("min(best)", "max(best)"),
        ),
        slip(
            "time of one program",
            "Your time is that of one program. Programs come in rounds, one "
            "after the other.",
            plan,
            ("rounds * (blocks + extra)", "(blocks + extra)"),
        ),
        slip(
            "rounds alone",
            "Your time does not depend on how many blocks a program has.",
            plan,
            ("rounds * (blocks + extra)", "rounds"),
            ("rounds * (blocks + extra)", "rounds * extra"),
        ),
        slip(
            "heads for programs",
            "Your rounds are filled with heads. There are N times splits "
            "programs.",
            plan,
            ("-(-N * splits // places)", "-(-N // places)"),
        ),
        slip(
            "sign of the rounding",
            "Rounding up by // needs two minus signs, -(-a // b): with one "
            "of them numbers are negative.",
            plan,
            ("-(-N * splits // places)", "-N * splits // places"),
            ("-(-N * splits // places)", "-(N * splits // places)"),
            ("-(-n // blocks)", "-n // blocks"),
            ("-(-n // blocks)", "-(n // blocks)"),
        ),
    ),
    hints=(
        "Try every number of blocks that a split can have, from 1 to all of "
        "them. How many splits does each give, how many programs, how many "
        "rounds?",
        "With n = ceil(S / BS) blocks in all and b in a split there are "
        "ceil(n / b) splits, ceil(N * splits / places) rounds, and each takes "
        "b + extra.",
        "Collect (rounds * (b + extra), splits) for all b and take min: "
        "tuples are compared by time first, then by splits.",
    ),
)
