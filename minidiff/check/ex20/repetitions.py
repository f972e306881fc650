"""Exercise 20.5: which effective lengths would repetitions have found?"""

from collections.abc import Callable
from math import comb

import numpy as np

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.check.edited import slip


def repetitions(right: np.ndarray, asked: int, share: float) -> np.ndarray:
    """Return the probability of each unbroken effective length, (n,).

    right (n,): right answers of ``asked`` at n lengths, the shortest first.
    In a repetition each length has a new number of right answers, binomial
    with the measured share right / asked, independent of the others. A
    length is kept if its number is at least share times that of the shortest
    length in the same repetition. Entry j is the probability that lengths 0
    to j are kept and length j + 1 is not, or does not exist.
    """
    k = np.arange(asked + 1)
    ways = np.array([float(comb(asked, n)) for n in k])
    p = right[:, None] / asked
    chance = ways * p**k * (1 - p) ** (asked - k)  # (n, asked + 1)
    found = np.zeros(len(right))
    for base in k:
        kept = chance[1:, k >= share * base].sum(1)
        reached = np.cumprod(np.append(1, kept))
        found += chance[0, base] * reached * np.append(1 - kept, 1)
    return found


def _cases() -> list[Case]:
    return [
        Case(
            name=f"{right} right of {asked}, share {share}",
            args=(np.array(right), asked, share),
        )
        for right, asked, share in (
            ([10, 9, 6, 3], 10, 0.75),
            ([7, 7], 8, 0.5),
            ([5, 4, 4, 2, 1], 6, 0.5),
            ([12, 0, 7], 16, 0.75),
            ([20, 16, 11, 17], 24, 0.75),
        )
    ]


Chances = Callable[[np.ndarray, int, float], np.ndarray]


def _binomial(right: np.ndarray, asked: int) -> np.ndarray:
    k = np.arange(asked + 1)
    ways = np.array([float(comb(asked, n)) for n in k])
    p = right[:, None] / asked
    found: np.ndarray = ways * p**k * (1 - p) ** (asked - k)
    return found


def _with(
    keep: Callable[[np.ndarray, int, int, float], np.ndarray],
    end: Callable[[np.ndarray], np.ndarray],
) -> Chances:
    """Use another rule for a kept length, or for where a row ends."""

    def answer(right: np.ndarray, asked: int, share: float) -> np.ndarray:
        k, chance = np.arange(asked + 1), _binomial(right, asked)
        found = np.zeros(len(right))
        for b in range(asked + 1):
            good = keep(k, b, asked, share)
            found += chance[0, b] * end((good * chance[1:]).sum(1))
        return found

    return answer


def _right(k: np.ndarray, base: int, asked: int, share: float) -> np.ndarray:
    return k >= share * base


def _end(kept: np.ndarray) -> np.ndarray:
    found: np.ndarray = np.cumprod(np.append(1, kept))
    return found * np.append(1 - kept, 1)


def _longest(kept: np.ndarray) -> np.ndarray:
    """Probabilities of the longest kept length, with gaps before it."""
    lost = np.cumprod((1 - kept)[::-1])[::-1]
    return np.append(1, kept) * np.append(lost, 1)


def _own(kept: np.ndarray) -> np.ndarray:
    reached: np.ndarray = np.cumprod(np.append(1, kept))
    return reached * np.append(0, 1 - kept)


def _fixed(right: np.ndarray, asked: int, share: float) -> np.ndarray:
    k, chance = np.arange(asked + 1), _binomial(right, asked)
    return _end(chance[1:, k >= share * right[0]].sum(1))


def _averaged(right: np.ndarray, asked: int, share: float) -> np.ndarray:
    """Average over the base first, as if it were drawn anew each time."""
    k, chance = np.arange(asked + 1), _binomial(right, asked)
    kept = [
        chance[0] @ np.array([row[k >= share * b].sum() for b in k])
        for row in chance[1:]
    ]
    return _end(np.array(kept))


def _pascal(right: np.ndarray, asked: int, share: float) -> np.ndarray:
    """Leave the binomial coefficients out."""
    k = np.arange(asked + 1)
    p = right[:, None] / asked
    chance = p**k * (1 - p) ** (asked - k)
    return np.sum(
        [chance[0, b] * _end(chance[1:, k >= share * b].sum(1)) for b in k],
        0,
    )


EXERCISE = Exercise(
    id="20.5",
    cases=_cases,
    solution=repetitions,
    mistakes=(
        Mistake(
            key="base not repeated",
            diagnosis="You keep the measured count of the shortest length. "
            "It varies too: sum over all its counts, each with its "
            "probability.",
            wrong=_fixed,
        ),
        Mistake(
            key="a base for each length",
            diagnosis="You average over the base for each length separately. "
            "In a repetition all lengths share one base: average at the end.",
            wrong=_averaged,
        ),
        Mistake(
            key="more than the threshold",
            diagnosis="A count of exactly share times the base is kept: >=, "
            "not >.",
            wrong=_with(lambda k, b, n, s: k > s * b, _end),
        ),
        Mistake(
            key="threshold not relative",
            diagnosis="You compare with share times `asked`. The threshold "
            "is share times the count of the shortest length.",
            wrong=_with(lambda k, b, n, s: k >= s * n, _end),
        ),
        Mistake(
            key="at least this length",
            diagnosis="Your entries are the probabilities of at least this "
            "length, and sum to more than 1. The next length must fail.",
            wrong=_with(_right, lambda kept: np.cumprod(np.append(1, kept))),
        ),
        Mistake(
            key="no end",
            diagnosis="Your probabilities do not sum to 1: after the last "
            "length nothing can fail, and its factor is 1.",
            wrong=_with(
                _right,
                lambda kept: (
                    np.cumprod(np.append(1, kept)) * np.append(1 - kept, 0)
                ),
            ),
        ),
        Mistake(
            key="own failure",
            diagnosis="Entry j multiplies the failure of length j itself. "
            "Lengths 0 to j are kept, and length j + 1 fails.",
            wrong=_with(_right, _own),
        ),
        Mistake(
            key="gaps allowed",
            diagnosis="That is the longest kept length, with gaps before it. "
            "Here every length up to j must be kept.",
            wrong=_with(_right, _longest),
        ),
        Mistake(
            key="no coefficients",
            diagnosis="Your binomial probabilities lack the coefficients "
            "comb(asked, k), and do not sum to 1.",
            wrong=_pascal,
        ),
        slip(
            "counts end too early",
            "Your numbers of right answers do not go from 0 to `asked`, "
            "both included. All of them can happen.",
            repetitions,
            ("np.arange(asked + 1)", "np.arange(asked)"),
            ("np.arange(asked + 1)", "np.arange(asked - 1)"),
            ("np.arange(asked + 1)", "np.arange(1)"),
        ),
        slip(
            "no share",
            "Your p is not the measured share of right answers, a number "
            "from 0 to 1.",
            repetitions,
            ("right[:, None] / asked", "right[:, None] // asked"),
            ("right[:, None] / asked", "right[:, None]"),
            ("right[:, None] / asked", "right[:, None] * asked"),
            ("right[:, None] / asked", "asked / right[:, None]"),
        ),
        slip(
            "no binomial",
            "Your probability of a count lacks a factor, or one of them is "
            "wrong: k answers are right, each with p, and the others are "
            "wrong, each with 1 - p.",
            repetitions,
            (" * (1 - p) ** (asked - k)", ""),
            ("ways * p**k * ", "ways * "),
            ("p**k * ", "p * "),
            (" * (1 - p) ** (asked - k)", " * (1 - p)"),
            (" * (1 - p) ** (asked - k)", " * (1 - p) ** k"),
            (" * (1 - p) ** (asked - k)", " * (1 - p) ** asked"),
            (" * (1 - p) ** (asked - k)", " * p ** (asked - k)"),
            (" * (1 - p) ** (asked - k)", " * (1 - p) * (asked - k)"),
            ("p**k", "p * k"),
            (" * (1 - p) ** (asked - k)", " * (1 - p) ** (asked + k)"),
            (" * (1 - p) ** (asked - k)", " * (1 + p) ** (asked - k)"),
            ("ways * p**k * (", "("),
        ),
        slip(
            "mean of probabilities",
            "You average the probabilities of the counts that are kept. "
            "Only one of them happens: add them up.",
            repetitions,
            ("base].sum(1)", "base].mean(1)"),
        ),
        slip(
            "the lost ones",
            "You add up the counts that are too small. A length is kept if "
            "its count reaches the threshold.",
            repetitions,
            ("k >= share * base", "k <= share * base"),
            ("k >= share * base", "k < share * base"),
        ),
        slip(
            "another threshold",
            "Your threshold is another number. It is share times the count "
            "of the shortest length in this repetition.",
            repetitions,
            ("share * base", "base"),
            ("share * base", "share"),
            ("share * base", "share / base"),
            ("share * base", "share + base"),
        ),
        slip(
            "one length before",
            "You multiply by the length before only. All lengths up to j "
            "must be kept.",
            repetitions,
            ("np.cumprod(np.append(1, kept))", "np.append(1, kept)"),
        ),
        slip(
            "kept ones forgotten",
            "Your entries hold only that the next length fails. The lengths "
            "before it must be kept too.",
            repetitions,
            (" * reached * ", " * "),
        ),
        slip(
            "next one kept",
            "The next length is kept in your entries. It must fail.",
            repetitions,
            ("np.append(1 - kept, 1)", "np.append(kept, 1)"),
        ),
        slip(
            "one place off",
            "One of your two lists is moved by one length against the "
            "other: which entry belongs to the shortest length, and which "
            "to the end?",
            repetitions,
            ("np.append(1, kept)", "np.append(kept, 1)"),
            ("np.append(1 - kept, 1)", "np.append(1, 1 - kept)"),
        ),
        slip(
            "bases not weighted",
            "All counts of the shortest length weigh the same in your sum. "
            "Each has its own probability.",
            repetitions,
            ("chance[0, base] * reached", "reached"),
        ),
        slip(
            "another length's counts",
            "You weight the base by the probabilities of another length. It "
            "is the count of the shortest.",
            repetitions,
            ("chance[0, base]", "chance[1, base]"),
            ("chance[0, base]", "chance[-1, base]"),
        ),
        slip(
            "last base only",
            "You keep only the last count of the shortest length. Add up "
            "over all of them.",
            repetitions,
            ("found +=", "found ="),
        ),
    ),
    hints=(
        "Fix the count of the shortest length first. Then the others are "
        "independent, and each is kept with a probability of its own.",
        "P(k right) = comb(asked, k) p**k (1 - p)**(asked - k). Sum it over "
        "k >= share * base for the probability that a length is kept.",
        "np.cumprod(np.append(1, kept)) is the probability that 0 to j are "
        "kept; multiply by np.append(1 - kept, 1), and sum over the base "
        "with its probability.",
    ),
)
