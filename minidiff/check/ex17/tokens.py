"""Exercise 17.4: tokens for which computing takes as long as talking."""

from collections.abc import Callable

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.check.edited import slip


def tokens_each(N: int, W: int, f: float, b: float) -> float:
    """Return the tokens each process needs for an equal time of both.

    Computing (6 operations a parameter and token, f a second) then takes as
    long as the all-reduce of N gradients of 4 bytes by a ring of W (each
    sends b bytes a second).
    """
    talking = 2 * (W - 1) / W * 4 * N / b  # seconds
    token = 6 * N / f  # seconds for one
    return talking / token


def _cases() -> list[Case]:
    return [
        Case(name=f"N = {N}, W = {W}, f = {f:g}, b = {b:g}", args=args)
        for N, W, f, b in (
            (1000, 2, 1e6, 1e3),
            (7000, 8, 6e9, 4e5),
            (500, 64, 3e4, 7e3),
        )
        for args in [(N, W, f, b)]
    ]


def _changed(
    talk: Callable[[int, int], float] = lambda N, W: 8 * (W - 1) / W * N,
    compute: Callable[[int, int], float] = lambda N, W: 6 * N,
) -> Callable[[int, int, float, float], float]:
    """Bytes sent and operations for a token, counted another way."""

    def answer(N: int, W: int, f: float, b: float) -> float:
        return talk(N, W) / b / (compute(N, W) / f)

    return answer


EXERCISE = Exercise(
    id="17.4",
    cases=_cases,
    solution=tokens_each,
    mistakes=(
        Mistake(
            key="upside down",
            diagnosis="You divide the time of a token by the time of the "
            "exchange. How many tokens fit in it?",
            wrong=lambda *args: 1 / tokens_each(*args),
        ),
        Mistake(
            key="speeds exchanged",
            diagnosis="f and b have changed places: f is for computing, b "
            "for sending.",
            wrong=lambda N, W, f, b: tokens_each(N, W, b, f),
        ),
        Mistake(
            key="forward only",
            diagnosis="You count 2 operations, the forward pass. Backward "
            "takes 4 more.",
            wrong=_changed(compute=lambda N, W: 2 * N),
        ),
        Mistake(
            key="no operations",
            diagnosis="You count one operation a parameter and token. There "
            "are 6.",
            wrong=_changed(compute=lambda N, W: N),
        ),
        Mistake(
            key="numbers, not bytes",
            diagnosis="You send numbers at b a second, but b is in bytes. A "
            "gradient takes 4.",
            wrong=_changed(talk=lambda N, W: 2 * (W - 1) / W * N),
        ),
        Mistake(
            key="half of the ring",
            diagnosis="You count one half of the ring. An all-reduce sends "
            "2 (W - 1) / W of the vector.",
            wrong=_changed(talk=lambda N, W: 4 * (W - 1) / W * N),
        ),
        Mistake(
            key="all of N",
            diagnosis="You send the vector twice, or once. By a ring each "
            "process sends 2 (W - 1) / W of it.",
            wrong=_changed(talk=lambda N, W: 8 * N),
            also=(_changed(talk=lambda N, W: 4 * N),),
        ),
        Mistake(
            key="one chunk",
            diagnosis="You send one chunk for each half. It takes W - 1 "
            "rounds, with a chunk in each.",
            wrong=_changed(talk=lambda N, W: 8 / W * N),
        ),
        Mistake(
            key="W times as many",
            diagnosis="You send W - 1 vectors, or count all processes' "
            "tokens. By a ring a process sends 2 (W - 1) chunks of N / W.",
            wrong=_changed(talk=lambda N, W: 8 * (W - 1) * N),
            also=(_changed(talk=lambda N, W: 4 * (W - 1) * N),),
        ),
        Mistake(
            key="FSDP",
            diagnosis="You count three halves of a ring, as FSDP has. Here "
            "it is an all-reduce: two.",
            wrong=_changed(talk=lambda N, W: 12 * (W - 1) / W * N),
        ),
        Mistake(
            key="divided by W",
            diagnosis="You divide by W once more. N, f and b are each "
            "process's own already.",
            wrong=lambda N, W, f, b: tokens_each(N, W, f, b) / W,
        ),
        Mistake(
            key="N on one side",
            diagnosis="N is on one side only. A larger model has more to "
            "compute and more to send.",
            wrong=_changed(compute=lambda N, W: 6),
            also=(_changed(talk=lambda N, W: 8 * (W - 1) / W),),
        ),
        slip(
            "a time",
            "You return a time, or a product of two. How many tokens' times "
            "fit in the exchange?",
            tokens_each,
            ("return talking / token", "return talking"),
            ("return talking / token", "return token"),
            ("return talking / token", "return talking * token"),
        ),
        slip(
            "multiplied by a speed",
            "A time is work over speed. You multiply by one of the speeds.",
            tokens_each,
            ("N / b", "N * b"),
            ("N / f", "N * f"),
            ("2 * (W - 1) / W * 4 * N / b", "b / (2 * (W - 1) / W * 4 * N)"),
        ),
        slip(
            "a speed left out",
            "One of the two speeds, f or b, is missing from your times.",
            tokens_each,
            ("N / b", "N"),
            ("N / f", "N"),
        ),
        slip(
            "another number of rounds",
            "A half of the ring does not have W - 1 rounds in your count.",
            tokens_each,
            ("(W - 1) / W", "(W + 1) / W"),
            ("(W - 1) / W", "(W - 2) / W"),
            ("(W - 1) / W", "(1 - W) / W"),
            ("2 * (W - 1)", "(2 + W - 1)"),
            ("2 * (W - 1) / W", "W / (2 * (W - 1))"),
        ),
        slip(
            "rounded down",
            "You round down. Divide with /.",
            tokens_each,
            ("talking / token", "talking // token"),
            ("N / b", "N // b"),
        ),
    ),
    hints=(
        "Write two times down: of the all-reduce, and of one token.",
        "Talking takes 2 (W - 1) / W * 4 N / b seconds, a token 6 N / f.",
        "Their ratio: 2 * (W - 1) / W * 4 * N / b / (6 * N / f).",
    ),
)
