"""Exercise 6.1: the FLOPs of one attention call."""

from minidiff.check.core import Case, Exercise, Mistake


def call_flops(T: int, S: int, D: int, Dv: int, causal: bool) -> int:
    """Return the FLOPs of the two matrix products of one call, one head.

    T queries and S >= T keys of width D, values of width Dv. If causal,
    query t sees keys 0 to t + S - T; what is hidden costs nothing.
    """
    pairs = T * S
    if causal:
        pairs -= T * (T - 1) // 2
    return 2 * pairs * (D + Dv)


def _pairs(T: int, S: int, causal: bool) -> int:
    return T * S - (T * (T - 1) // 2 if causal else 0)


def _start(T: int, S: int, D: int, Dv: int, causal: bool) -> int:
    """The causal edge aligned to the start: query t sees t + 1 keys."""
    pairs = T * (T + 1) // 2 if causal else T * S
    return 2 * pairs * (D + Dv)


def _half(T: int, S: int, D: int, Dv: int, causal: bool) -> float:
    """Half the square, whatever the diagonal holds."""
    return T * S * (D + Dv) * (1 if causal else 2)


def _half_of_square(T: int, S: int, D: int, Dv: int, causal: bool) -> int:
    """Half of T times T hidden, with // 2."""
    return 2 * (T * S - (T * T // 2 if causal else 0)) * (D + Dv)


def _strict(T: int, S: int, D: int, Dv: int, causal: bool) -> int:
    """The query's own key left out."""
    hidden = T * (T + 1) // 2 if causal else 0
    return 2 * (T * S - hidden) * (D + Dv)


def _cases() -> list[Case]:
    return [
        Case(
            name=f"T = {T}, S = {S}, D = {D}, Dv = {Dv}, causal = {causal}",
            args=(T, S, D, Dv, causal),
        )
        for T, S, D, Dv, causal in (
            (1, 1, 3, 6, False),
            (2, 2, 3, 6, False),
            (4, 4, 2, 4, True),
            (3, 8, 4, 4, True),
            (1, 16, 8, 16, True),
            (5, 7, 2, 6, False),
        )
    ]


EXERCISE = Exercise(
    id="6.1",
    cases=_cases,
    solution=call_flops,
    mistakes=(
        Mistake(
            key="one for two",
            diagnosis="You count one operation for each pair of numbers. It "
            "is a multiplication and an addition: 2.",
            wrong=lambda T, S, D, Dv, causal: _pairs(T, S, causal) * (D + Dv),
        ),
        Mistake(
            key="full square",
            diagnosis="You count hidden keys too. With the causal mask query "
            "t sees t + S - T + 1 keys; add these up.",
            wrong=lambda T, S, D, Dv, causal: 2 * T * S * (D + Dv),
        ),
        Mistake(
            key="half the square",
            diagnosis="The causal mask does not hide exactly half. The "
            "diagonal is seen, and with S > T much more is.",
            wrong=_half,
            also=(_half_of_square,),
        ),
        Mistake(
            key="aligned to the start",
            diagnosis="You let query t see keys 0 to t. With S > T it sees "
            "S - T more: the last query sees all S keys.",
            wrong=_start,
        ),
        Mistake(
            key="diagonal hidden",
            diagnosis="You leave out each query's own key. Query t sees key "
            "t + S - T too.",
            wrong=_strict,
        ),
        Mistake(
            key="scores only",
            diagnosis="You count the scores only. The second product, map "
            "times values, has width Dv.",
            wrong=lambda T, S, D, Dv, causal: 2 * _pairs(T, S, causal) * D,
        ),
        Mistake(
            key="values as wide as keys",
            diagnosis="You give the values the width of the keys. They are "
            "Dv wide.",
            wrong=lambda T, S, D, Dv, causal: 4 * _pairs(T, S, causal) * D,
        ),
        Mistake(
            key="second product whole",
            diagnosis="You mask the first product only. A hidden key's value "
            "is not added up either.",
            wrong=lambda T, S, D, Dv, causal: (
                2 * _pairs(T, S, causal) * D + 2 * T * S * Dv
            ),
        ),
        Mistake(
            key="one addition fewer",
            diagnosis="You count D - 1 additions for a sum of D products. "
            "The custom, and this chapter, count D.",
            wrong=lambda T, S, D, Dv, causal: (
                _pairs(T, S, causal) * (2 * D - 1 + 2 * Dv - 1)
            ),
        ),
        Mistake(
            key="S queries",
            diagnosis="You add up 1 + 2 + ... + S: that is for S queries. "
            "There are T, and the first sees S - T + 1 keys.",
            wrong=lambda T, S, D, Dv, causal: (
                (S * (S + 1) if causal else 2 * T * S) * (D + Dv)
            ),
        ),
    ),
    hints=(
        "How many pairs of a query and a key that it sees are there? And "
        "what does one such pair cost in each of the two products?",
        "A seen pair costs 2 D for its score and 2 Dv for its value. "
        "Without a mask there are T S pairs; the mask hides 0 keys from the "
        "last query, 1 from the one before, and so on.",
        "pairs = T * S - T * (T - 1) // 2 if causal, else T * S. The answer "
        "is 2 * pairs * (D + Dv).",
    ),
)
