"""Exercise 11.2: registers counted by hand."""

from minidiff.check.core import Case, Exercise, Mistake


def registers(BT: int, BS: int, Dv: int, warps: int, together: bool) -> int:
    """Return how many float32 registers each thread of a program needs.

    BT queries by BS keys at a time, values Dv wide, warps of 32 threads. To
    count: one block of scores, and the accumulators, two if both branches
    walk together, else one. The sizes divide evenly.
    """
    accumulators = 2 if together else 1
    return BT * (accumulators * Dv + BS) // (32 * warps)


def _count(
    BT: int,
    BS: int,
    Dv: int,
    warps: int,
    together: bool,
    *,
    scores: int = 1,
    accumulators: int | None = None,
    threads: int = 32,
    each: int = 1,
) -> float:
    if accumulators is None:
        accumulators = 2 if together else 1
    return each * BT * (accumulators * Dv + scores * BS) / (threads * warps)


def _cases() -> list[Case]:
    return [
        Case(
            name=f"BT = {BT}, BS = {BS}, Dv = {Dv}, {warps} warps, "
            + ("together" if together else "in turn"),
            args=(BT, BS, Dv, warps, together),
        )
        for BT, BS, Dv, warps, together in (
            (64, 64, 128, 4, True),
            (64, 64, 128, 4, False),
            (128, 64, 256, 8, True),
            (128, 64, 256, 8, False),
            (32, 128, 64, 2, True),
            (64, 32, 128, 8, True),
            (128, 64, 128, 4, False),
        )
    ]


EXERCISE = Exercise(
    id="11.2",
    cases=_cases,
    solution=registers,
    mistakes=(
        Mistake(
            key="per warp",
            diagnosis="You share among warps. Each warp has 32 threads.",
            wrong=lambda *a: _count(*a, threads=1),
        ),
        Mistake(
            key="per program",
            diagnosis="You do not share among all threads of the program. "
            "There are 32 for each warp.",
            wrong=lambda BT, BS, Dv, warps, together: _count(
                BT, BS, Dv, 1, together, threads=1
            ),
            also=(
                lambda BT, BS, Dv, warps, together: _count(
                    BT, BS, Dv, 1, together
                ),
            ),
        ),
        Mistake(
            key="scores left out",
            diagnosis="The block of scores is missing: BT x BS more.",
            wrong=lambda *a: _count(*a, scores=0),
        ),
        Mistake(
            key="scores twice",
            diagnosis="You count two blocks of scores. Within a step the "
            "branches take their turns, so one is enough.",
            wrong=lambda BT, BS, Dv, warps, together: _count(
                BT, BS, Dv, warps, together, scores=2 if together else 1
            ),
            also=(lambda *a: _count(*a, scores=2),),
        ),
        Mistake(
            key="one accumulator",
            diagnosis="Walking together takes two accumulators.",
            wrong=lambda *a: _count(*a, accumulators=1),
        ),
        Mistake(
            key="always two accumulators",
            diagnosis="In turn there is one accumulator at a time.",
            wrong=lambda *a: _count(*a, accumulators=2),
        ),
        Mistake(
            key="the other way round",
            diagnosis="Walking together takes two accumulators, in turn one. "
            "You have it the other way round.",
            wrong=lambda BT, BS, Dv, warps, together: _count(
                BT, BS, Dv, warps, not together
            ),
        ),
        Mistake(
            key="bytes",
            diagnosis="You count bytes. One register holds four: one float32.",
            wrong=lambda *a: _count(*a, each=4),
        ),
    ),
    hints=(
        "How many numbers lie in a block of scores, and in an accumulator?",
        "BT x BS, and BT x Dv, the latter twice if together. All threads of "
        "the program share them; there are 32 * warps.",
        "BT * ((2 if together else 1) * Dv + BS) // (32 * warps).",
    ),
)
