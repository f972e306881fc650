"""Exercise 18.1: bits per byte, a loss that no tokenizer can change."""

from math import log

from minidiff.check.core import Case, Exercise, Mistake


def bits_per_byte(nats: float, tokens: int, size: int) -> float:
    """Return the loss of a text in bits per byte.

    nats: mean loss per token, in natural logarithms; tokens: predicted tokens
    of the text; size: length of the text in bytes.
    """
    return nats * tokens / (size * log(2))


def _cases() -> list[Case]:
    return [
        Case(
            name=f"{nats} nats a token, {tokens} tokens, {size} bytes",
            args=(nats, tokens, size),
        )
        for nats, tokens, size in (
            (1.5, 100, 400),
            (2.0, 1000, 1000),
            (0.7, 345, 1300),
        )
    ]


EXERCISE = Exercise(
    id="18.1",
    cases=_cases,
    solution=bits_per_byte,
    mistakes=(
        Mistake(
            key="still nats",
            diagnosis="That is nats per byte. A bit is ln 2 = 0.693 nats, so "
            "divide by log(2).",
            wrong=lambda nats, tokens, size: nats * tokens / size,
        ),
        Mistake(
            key="times ln 2",
            diagnosis="You multiply by ln 2. A bit is smaller than a nat, so "
            "the number of bits is larger: divide.",
            wrong=lambda nats, tokens, size: nats * tokens / size * log(2),
        ),
        Mistake(
            key="bits per token",
            diagnosis="That is bits per token: the size of the text is not "
            "used. Spread the bits of all tokens over all bytes.",
            wrong=lambda nats, tokens, size: nats / log(2),
        ),
        Mistake(
            key="ratio upside down",
            diagnosis="You multiply by bytes per token. The total is nats * "
            "tokens, and it is divided by the bytes.",
            wrong=lambda nats, tokens, size: nats * size / tokens / log(2),
        ),
    ),
    hints=(
        "How many nats does the whole text cost? How many bits is that?",
        "The whole text costs nats * tokens. One bit is log(2) nats.",
        "nats * tokens / (size * log(2)).",
    ),
)
