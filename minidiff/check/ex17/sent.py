"""Exercise 17.3: bytes that a process sends for one step."""

from collections.abc import Callable

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.check.edited import slip


def bytes_sent(kind: str, W: int, N: int, m: int) -> float:
    """Return the bytes that each process sends for one step.

    kind: "ddp" or "fsdp". W processes, N parameters of 4 bytes, as are
    their gradients. Every process computes its rows in m parts.
    """
    halves = 2 if kind == "ddp" else 2 * m + 1
    return halves * (W - 1) / W * 4 * N


def _cases() -> list[Case]:
    return [
        Case(
            name=f"{kind}, W = {W}, N = {N}, m = {m}",
            args=(kind, W, N, m),
        )
        for W, N, m in ((2, 1000, 1), (8, 4000, 1), (4, 400, 3), (64, 6400, 2))
        for kind in ("ddp", "fsdp")
    ]


def _halves(
    ddp: Callable[[int], float], fsdp: Callable[[int], float]
) -> Callable[[str, int, int, int], float]:
    """So many halves of a ring, by parts."""

    def count(kind: str, W: int, N: int, m: int) -> float:
        return {"ddp": ddp, "fsdp": fsdp}[kind](m) * (W - 1) / W * 4 * N

    return count


def _times(
    size: Callable[[int, int], float],
) -> Callable[[str, int, int, int], float]:
    """The right number of halves, each of another size."""

    def count(kind: str, W: int, N: int, m: int) -> float:
        halves = {"ddp": 2, "fsdp": 2 * m + 1}[kind]
        return halves * size(W, N)

    return count


EXERCISE = Exercise(
    id="17.3",
    cases=_cases,
    solution=bytes_sent,
    mistakes=(
        Mistake(
            key="numbers, not bytes",
            diagnosis="You return numbers. Each takes 4 bytes.",
            wrong=_times(lambda W, N: (W - 1) / W * N),
        ),
        Mistake(
            key="all that is held",
            diagnosis="You count 16 bytes, all that is held for a parameter. "
            "What travels is weights and gradients, 4 bytes each time; the "
            "running means stay where they are.",
            wrong=_times(lambda W, N: (W - 1) / W * 16 * N),
        ),
        Mistake(
            key="all of N",
            diagnosis="You count N for each half of the ring. A process "
            "sends W - 1 chunks of N / W: a little less.",
            wrong=_times(lambda W, N: 4 * N),
        ),
        Mistake(
            key="one chunk",
            diagnosis="You count one chunk for each half. It takes W - 1 "
            "rounds, with a chunk in each.",
            wrong=_times(lambda W, N: 4 * N / W),
        ),
        Mistake(
            key="N each round",
            diagnosis="You count N for each round, or all processes "
            "together. In a round one process sends one chunk, N / W.",
            wrong=_times(lambda W, N: 4 * N * (W - 1)),
            also=(_times(lambda W, N: 4 * N * W),),
        ),
        Mistake(
            key="fsdp as ddp",
            diagnosis="FSDP comes out like DDP. It gathers weights as well.",
            wrong=_halves(lambda m: 2, lambda m: 2),
            also=(_halves(lambda m: 2 * m, lambda m: 2 * m),),
        ),
        Mistake(
            key="gathered once",
            diagnosis="For FSDP you count one gather of the weights. After "
            "the forward pass they are dropped: backward needs them again.",
            wrong=_halves(lambda m: 2, lambda m: m + 1),
        ),
        Mistake(
            key="two in each part",
            diagnosis="For FSDP you count two halves in each part and nothing "
            "else. Each part gathers twice, forward and backward; and once, "
            "after the last part, the gradients are scattered.",
            wrong=_halves(lambda m: 2, lambda m: 2 * m),
        ),
        Mistake(
            key="gather as a whole ring",
            diagnosis="For FSDP you count each gather or scatter as a whole "
            "all-reduce. It is one half.",
            wrong=_halves(lambda m: 2, lambda m: 4 * m + 2),
            also=(
                _halves(lambda m: 2, lambda m: 4 * m + 1),
                _halves(lambda m: 2, lambda m: 6 * m),
            ),
        ),
        Mistake(
            key="gathered in one part",
            diagnosis="For FSDP you gather as if there were one part. Each "
            "of m parts gathers the weights twice.",
            wrong=_halves(lambda m: 2, lambda m: 3),
        ),
        Mistake(
            key="scattered in each part",
            diagnosis="For FSDP you scatter gradients in each part. They are "
            "added up first, and scattered after the last part.",
            wrong=_halves(lambda m: 2, lambda m: 3 * m),
        ),
        Mistake(
            key="ddp in each part",
            diagnosis="For DDP you exchange gradients in each part. They are "
            "added up first, and exchanged after the last part.",
            wrong=_halves(lambda m: 2 * m, lambda m: 2 * m + 1),
            also=(_halves(lambda m: 2 * m, lambda m: 3 * m),),
        ),
        Mistake(
            key="all-reduce at the end",
            diagnosis="For FSDP you all-reduce the gradients. Reduce-scatter "
            "is enough, the first half: each updates its own share.",
            wrong=_halves(lambda m: 2, lambda m: 2 * m + 2),
            also=(_halves(lambda m: 2, lambda m: 4 * m),),
        ),
        Mistake(
            key="half an all-reduce",
            diagnosis="For DDP you count one half of the ring. An all-reduce "
            "is both: reduce-scatter and all-gather.",
            wrong=_halves(lambda m: 1, lambda m: 2 * m + 1),
        ),
        Mistake(
            key="kinds mixed up",
            diagnosis="DDP and FSDP have changed places.",
            wrong=_halves(lambda m: 2 * m + 1, lambda m: 2),
        ),
        slip(
            "another number of halves",
            "For one of the kinds you count another number of halves of the "
            "ring. FSDP gathers twice in each part and scatters once; DDP "
            "all-reduces once.",
            bytes_sent,
            ("2 * m + 1", "3 * m + 1"),
            ("2 * m + 1", "2 * m - 1"),
            ("2 * m + 1", "2 + m + 1"),
            ("2 * m + 1", "1"),
            ("2 if kind", "3 if kind"),
            ("2 if kind", "4 if kind"),
        ),
        slip(
            "ddp as fsdp",
            "DDP comes out like FSDP. It all-reduces the gradients and "
            "gathers no weights.",
            bytes_sent,
            ('2 if kind == "ddp" else 2 * m + 1', "2 * m + 1"),
        ),
        slip(
            "one half for all",
            "You count one half of the ring for every kind.",
            bytes_sent,
            ("halves * (W - 1)", "(W - 1)"),
        ),
        slip(
            "another number of rounds",
            "A half of the ring does not have W - 1 rounds in your count.",
            bytes_sent,
            ("(W - 1) / W", "(W + 1) / W"),
            ("(W - 1) / W", "(W - 2) / W"),
            ("(W - 1) / W", "(1 - W) / W"),
            ("(W - 1) / W", "(W - 1) * W"),
            ("(W - 1) / W", "(W - 1) // W"),
        ),
        slip(
            "N left out",
            "Your number does not depend on N as it should. A chunk is N / "
            "W numbers.",
            bytes_sent,
            ("4 * N", "4"),
            ("4 * N", "4 / N"),
            ("4 * N", "4 + N"),
        ),
    ),
    hints=(
        "How many times does each kind do half a ring, over N numbers? "
        "Which of these happen in each part?",
        "DDP: both halves, once. FSDP: a gather forward and a gather "
        "backward in each part, and one reduce-scatter.",
        "halves * (W - 1) / W * 4 * N, with halves = 2 for DDP and "
        "2 * m + 1 for FSDP.",
    ),
)
