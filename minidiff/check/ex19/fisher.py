"""Exercise 19.1: Fisher's exact test of two counts."""

from collections.abc import Callable
from math import comb, erfc, sqrt

import numpy as np

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.check.edited import slip


def fisher(a: int, n: int, b: int, m: int) -> float:
    """Return the two-sided p-value of a solved of n against b solved of m.

    If the kind did not matter, the a + b runs that solved it would be a
    random choice from all n + m. p sums the probabilities of all splits (k
    of the first group, a + b - k of the second) no likelier than the one
    that came.
    """
    total = a + b
    ways = [comb(n, k) * comb(m, total - k) for k in range(total + 1)]
    return sum(w for w in ways if w <= ways[a]) / sum(ways)


def _cases() -> list[Case]:
    return [
        Case(name=f"{a} of {n} against {b} of {m}", args=(a, n, b, m))
        for a, n, b, m in (
            (4, 4, 0, 4),
            (4, 6, 2, 6),
            (8, 8, 0, 8),
            (2, 8, 7, 8),
            (1, 3, 4, 9),
            (5, 9, 1, 4),
            (0, 8, 0, 8),
            (8, 8, 8, 8),
            (1, 2, 1, 6),
        )
    ]


def _ways(a: int, n: int, b: int, m: int) -> list[float]:
    """Probability of every number of solved runs of the first kind."""
    total = a + b
    return [
        comb(n, k) * comb(m, total - k) / comb(n + m, total)
        for k in range(total + 1)
    ]


Test = Callable[[int, int, int, int], float]


def _sum(keep: Callable[[int, int, float, float], bool]) -> Test:
    """Sum the probabilities of the tables that ``keep`` keeps."""

    def answer(a: int, n: int, b: int, m: int) -> float:
        ways = _ways(a, n, b, m)
        return sum(w for k, w in enumerate(ways) if keep(k, a, w, ways[a]))

    return answer


def _doubled(a: int, n: int, b: int, m: int) -> float:
    ways = _ways(a, n, b, m)
    return min(1.0, 2 * min(sum(ways[: a + 1]), sum(ways[a:])))


def _twice(up: bool, most: float = np.inf) -> Test:
    """Double one side, whichever it is."""

    def answer(a: int, n: int, b: int, m: int) -> float:
        ways = _ways(a, n, b, m)
        return min(most, 2 * sum(ways[a:] if up else ways[: a + 1]))

    return answer


def _negative(a: int, n: int, b: int, m: int) -> float:
    total = a + b
    ways = [comb(n, k) * comb(m, total - k) for k in range(n + 1)]
    return sum(w for w in ways if w <= ways[a]) / sum(ways)


def _binomial(a: int, n: int, b: int, m: int) -> float:
    total, share = a + b, n / (n + m)
    ways = [
        comb(total, k) * share**k * (1 - share) ** (total - k)
        for k in range(total + 1)
    ]
    return sum(w for w in ways if w <= ways[a] * (1 + 1e-9))


def _by_difference(a: int, n: int, b: int, m: int) -> float:
    ways = _ways(a, n, b, m)
    gaps = [abs(k * m - (a + b - k) * n) for k in range(len(ways))]
    return sum(w for w, gap in zip(ways, gaps, strict=True) if gap >= gaps[a])


def _two_shares(a: int, n: int, b: int, m: int) -> float:
    share = (a + b) / (n + m)
    error = sqrt(share * (1 - share) * (1 / n + 1 / m))
    return erfc(abs(a / n - b / m) / error / sqrt(2)) if error else 1.0


EXERCISE = Exercise(
    id="19.1",
    cases=_cases,
    solution=fisher,
    mistakes=(
        Mistake(
            key="this table only",
            diagnosis="That is the probability of exactly this table. Add "
            "all that are no likelier.",
            wrong=_sum(lambda k, a, w, own: k == a),
        ),
        Mistake(
            key="one side, up",
            diagnosis="You add the tables with a or more. A surprise in the "
            "other direction counts as well: go by probability.",
            wrong=_sum(lambda k, a, w, own: k >= a),
        ),
        Mistake(
            key="one side, down",
            diagnosis="You add the tables with a or fewer. A surprise in the "
            "other direction counts as well: go by probability.",
            wrong=_sum(lambda k, a, w, own: k <= a),
        ),
        Mistake(
            key="this table left out",
            diagnosis="You add only tables that are less likely. The table "
            "that came, and others just as likely, count too.",
            wrong=_sum(lambda k, a, w, own: w < own * (1 - 1e-9)),
        ),
        Mistake(
            key="likelier ones",
            diagnosis="You add the tables that are as likely or likelier. It "
            "is the unlikely ones that would surprise as much.",
            wrong=_sum(lambda k, a, w, own: w >= own * (1 - 1e-9)),
        ),
        Mistake(
            key="doubled",
            diagnosis="You double the smaller side. With groups of different "
            "sizes that is another test: add the tables no likelier.",
            wrong=_doubled,
        ),
        Mistake(
            key="twice one tail",
            diagnosis="You double the tables on one side of a, which need not "
            "be the side of the surprise, and the sum can pass 1. Add the "
            "tables no likelier, on both sides.",
            wrong=_twice(up=True),
            also=(
                _twice(up=False),
                _twice(up=True, most=1.0),
                _twice(up=False, most=1.0),
            ),
        ),
        Mistake(
            key="comb of a negative number",
            diagnosis="math.comb refuses a negative number: with k larger "
            "than a + b there would be fewer than no solved runs left for the "
            "second kind. Let k run from 0 to a + b.",
            wrong=_negative,
        ),
        Mistake(
            key="by the difference of shares",
            diagnosis="You add the tables whose shares lie as far apart. "
            "With groups of different sizes that is another order: add the "
            "tables that are no likelier.",
            wrong=_by_difference,
        ),
        Mistake(
            key="drawn with replacement",
            diagnosis="You draw each solved run anew. A run can be chosen "
            "only once: comb(n, k) * comb(m, a + b - k).",
            wrong=_binomial,
        ),
        Mistake(
            key="normal approximation",
            diagnosis="You compare two shares by a normal distribution. With "
            "eight runs that is not exact: count the ways.",
            wrong=_two_shares,
        ),
        Mistake(
            key="complement",
            diagnosis="You return 1 - p. p is small where the counts are "
            "surprising.",
            wrong=lambda a, n, b, m: 1 - fisher(a, n, b, m),
        ),
        slip(
            "ways of one group",
            "The ways of a split are not those of one group, or of both "
            "added: each choice of the first group goes with each of the "
            "second.",
            fisher,
            ("comb(n, k) * comb(m, total - k)", "comb(n, k)"),
            ("comb(n, k) * comb(m, total - k)", "comb(m, total - k)"),
            (
                "comb(n, k) * comb(m, total - k)",
                "comb(n, k) + comb(m, total - k)",
            ),
        ),
        slip(
            "another number of the second",
            "If k runs of the first group solve it, a + b - k of the second "
            "do. You take another number.",
            fisher,
            ("comb(m, total - k)", "comb(m, k)"),
            ("comb(m, total - k)", "comb(m, total)"),
            ("comb(m, total - k)", "comb(m, m - k)"),
        ),
        slip(
            "ways, not a share",
            "You return a number of ways. Divide by the ways of all splits.",
            fisher,
            ("if w <= ways[a]) / sum(ways)", "if w <= ways[a])"),
        ),
        slip(
            "all splits",
            "You add all splits. Only those that are no likelier than the "
            "one that came count.",
            fisher,
            ("sum(w for w in ways if w <= ways[a])", "sum(ways)"),
        ),
    ),
    hints=(
        "In how many ways can k of the a + b solved runs be of the first "
        "kind?",
        "comb(n, k) * comb(m, a + b - k), for k from 0 to a + b. As whole "
        "numbers they can be compared without rounding.",
        "sum(w for w in ways if w <= ways[a]) / sum(ways).",
    ),
)
