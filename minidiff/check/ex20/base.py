"""Exercise 20.2: the base with which a longer row shows no new slow angle."""

from collections.abc import Callable

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.check.edited import slip


def base_for(trained: int, longer: int, D: int, base: float) -> float:
    """Return the base that slows the slowest pair down to the longer row.

    With the new base the slowest pair, i = D / 2 - 1, turns as far over the
    largest distance of a row of ``longer`` tokens as it did with ``base``
    over that of a training row.
    """
    ratio = (longer - 1) / (trained - 1)
    return base * ratio ** (D / (D - 2))


def _cases() -> list[Case]:
    return [
        Case(
            name=f"from {trained} to {longer}, D = {D}, base {base:g}",
            args=(trained, longer, D, base),
        )
        for trained, longer, D, base in (
            (512, 2048, 16, 10000.0),
            (512, 1024, 64, 10000.0),
            (9, 33, 4, 100.0),
            (128, 512, 32, 500.0),
        )
    ]


def _power(
    exponent: Callable[[int], float],
) -> Callable[[int, int, int, float], float]:
    """Raise the ratio of the distances to another power of D."""

    def answer(trained: int, longer: int, D: int, base: float) -> float:
        ratio = (longer - 1) / (trained - 1)
        return float(base * ratio ** exponent(D))

    return answer


EXERCISE = Exercise(
    id="20.2",
    cases=_cases,
    solution=base_for,
    mistakes=(
        Mistake(
            key="ratio of lengths",
            diagnosis="You compare the lengths. The largest distances are "
            "longer - 1 and trained - 1.",
            wrong=lambda T, N, D, b: b * (N / T) ** (D / (D - 2)),
        ),
        Mistake(
            key="base times ratio",
            diagnosis="The slowest pair's exponent is -(D - 2) / D, not -1: "
            "with base times ratio it is not slowed down enough.",
            wrong=_power(lambda D: 1),
            also=(lambda T, N, D, b: b * N / T,),
        ),
        Mistake(
            key="exponent upside down",
            diagnosis="You raise the ratio to (D - 2) / D. Solve for the "
            "base: the exponent is the inverse, D / (D - 2).",
            wrong=_power(lambda D: (D - 2) / D),
        ),
        Mistake(
            key="smaller base",
            diagnosis="Your base is smaller than the old one, which makes "
            "the pairs faster. Longer rows need slower pairs.",
            wrong=_power(lambda D: -D / (D - 2)),
        ),
        Mistake(
            key="half the exponent",
            diagnosis="Your slowest pair has the exponent -i / D. It is "
            "-2 i / D, with i = D / 2 - 1: together -(D - 2) / D.",
            wrong=_power(lambda D: 2 * D / (D - 2)),
        ),
        Mistake(
            key="factor only",
            diagnosis="That is the factor. Multiply the old base by it.",
            wrong=lambda T, N, D, b: base_for(T, N, D, 1.0),
        ),
        slip(
            "no ratio",
            "Your ratio does not say how many times as large the largest "
            "distance becomes: one distance divided by the other.",
            base_for,
            (" / (trained - 1)", ""),
            ("(longer - 1) / (trained - 1)", "trained - 1"),
            (" / (trained - 1)", " * (trained - 1)"),
            ("(longer - 1) / (trained - 1)", "1 / (trained - 1)"),
        ),
        slip(
            "another distance",
            "Your largest distances are one less than the tokens for one "
            "length only, or by another number. Both rows are counted "
            "alike.",
            base_for,
            ("(longer - 1)", "longer"),
            ("(trained - 1)", "trained"),
            ("(longer - 1)", "(longer + 1)"),
            ("(trained - 1)", "(trained + 1)"),
            ("(longer - 1)", "(longer - 2)"),
            ("(trained - 1)", "(trained - 2)"),
            ("- 1)", "+ 1)"),
        ),
        slip(
            "ratio rounded down",
            "// rounds the ratio down to a whole number. Divide with /.",
            base_for,
            ("(longer - 1) / ", "(longer - 1) // "),
        ),
        slip(
            "another exponent",
            "Your exponent is another function of D. Write the slowest "
            "pair's exponent, -2 i / D with i = D / 2 - 1, in terms of D, "
            "and solve for the base.",
            base_for,
            ("D / (D - 2)", "D / (D - 1)"),
            ("D / (D - 2)", "D"),
            ("D / (D - 2)", "D - 2"),
            ("D / (D - 2)", "D * (D - 2)"),
            ("D / (D - 2)", "D // (D - 2)"),
            ("D / (D - 2)", "D / (D + 2)"),
            ("D / (D - 2)", "D / 2"),
            ("D / (D - 2)", "D / (D - 3)"),
        ),
        slip(
            "no power of the ratio",
            "You do not multiply the old base by a power of the ratio. Set "
            "the slowest angles of both rows equal, and solve for the new "
            "base.",
            base_for,
            ("ratio ** (D / (D - 2))", "ratio * (D / (D - 2))"),
            ("base * ratio", "base + ratio"),
            ("ratio ** (D / (D - 2))", "(D / (D - 2))"),
            ("base * ratio ** (D / (D - 2))", "base"),
        ),
    ),
    hints=(
        "Write down the speed of pair i = D / 2 - 1 with the old and with "
        "the new base, each times its largest distance; set them equal.",
        "(trained - 1) * base ** (-(D - 2) / D) = (longer - 1) * new ** "
        "(-(D - 2) / D). Solve for new.",
        "new = base * ratio ** (D / (D - 2)), ratio = (longer - 1) / "
        "(trained - 1).",
    ),
)
