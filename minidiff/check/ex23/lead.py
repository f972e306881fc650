"""Exercise 23.2: the lead that a key needs so that a head says nothing."""

import math
from collections.abc import Callable

import numpy as np

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.check.edited import slip


def lead_needed(S: int, eps: float, lam: float) -> float:
    """Return the smallest lead, 0 or more, with weight eps or less elsewhere.

    A row has S keys. In the first map, one of them has a logit that is larger
    by the lead than the S - 1 other logits, which are equal. The second map
    is uniform. The weight elsewhere is the sum of |A1 - lam A2| over the S -
    1 other keys. With lam = 0 this is an ordinary head, which needs eps > 0.
    """
    elsewhere = eps + lam * (S - 1) / S  # of the first map
    if elsewhere >= (S - 1) / S:
        return 0.0
    return float(np.log((S - 1) * (1 - elsewhere) / elsewhere))


def _cases() -> list[Case]:
    return [
        Case(name=f"S = {S}, eps = {eps}, lam = {lam}", args=(S, eps, lam))
        for S, eps, lam in (
            (2, 0.1, 0.0),
            (257, 0.01, 0.0),
            (8, 0.02, 0.5),
            (64, 0.0, 0.8),
            (100, 0.105, 0.9),  # uniform is good enough
            (16, 0.95, 0.0),
            (512, 1e-6, 0.0),
            (32, 0.0, 1.0),
        )
    ]


Lead = Callable[[int, float, float], float]


def _at(elsewhere: Callable[[int, float, float], float]) -> Lead:
    """Answer with another weight of the first map on the other keys."""

    def answer(S: int, eps: float, lam: float) -> float:
        a = elsewhere(S, eps, lam)
        if a >= (S - 1) / S:
            return 0.0
        return math.log((S - 1) * (1 - a) / a) if a > 0 else math.inf

    return answer


def _lead(a: float, keys: int) -> float:
    return math.log(keys * (1 - a) / a)


def _each(S: int, eps: float, lam: float) -> float:
    return (S - 1) * (eps + lam / S)


def _no_zero(S: int, eps: float, lam: float) -> float:
    return _lead(eps + lam * (S - 1) / S, S - 1)


def _keys(S: int, eps: float, lam: float) -> float:
    a = eps + lam * (S - 1) / S
    return 0.0 if a >= (S - 1) / S else _lead(a, S)


def _inverse(S: int, eps: float, lam: float) -> float:
    return -lead_needed(S, eps, lam)


def _one_key(S: int, eps: float, lam: float) -> float:
    a = eps + lam * (S - 1) / S
    return 0.0 if a >= (S - 1) / S else max(0.0, _lead(a, 1))


EXERCISE = Exercise(
    id="23.2",
    cases=_cases,
    solution=lead_needed,
    mistakes=(
        Mistake(
            key="second map forgotten",
            diagnosis="Your lead does not depend on lam. The second map takes "
            "lam / S from each key, so the first may leave that much there.",
            wrong=_at(lambda S, eps, lam: eps),
        ),
        Mistake(
            key="lambda on all keys",
            diagnosis="You let the first map keep lam on the other keys. The "
            "second map has 1 / S on each of the S keys, so only lam (S - 1) "
            "/ S of it lies on the S - 1 others.",
            wrong=_at(lambda S, eps, lam: eps + lam),
        ),
        Mistake(
            key="eps for each key",
            diagnosis="You allow eps on each of the other keys. It is the sum "
            "over all S - 1 of them.",
            wrong=_at(_each),
        ),
        Mistake(
            key="sum below zero",
            diagnosis="You take the smallest weight that the first map may "
            "have on the other keys. The largest one needs the smaller lead.",
            wrong=_at(lambda S, eps, lam: lam * (S - 1) / S - eps),
            also=(_at(lambda S, eps, lam: abs(lam * (S - 1) / S - eps)),),
        ),
        Mistake(
            key="other keys counted once",
            diagnosis="You compare the one key with all others as if they "
            "were one. S - 1 keys share the weight elsewhere: each has 1 / (S "
            "- 1) of it.",
            wrong=_one_key,
        ),
        Mistake(
            key="S keys share",
            diagnosis="You let S keys share the weight elsewhere. The key "
            "with the lead is not one of them: S - 1.",
            wrong=_keys,
        ),
        Mistake(
            key="negative lead",
            diagnosis="Where equal logits are good enough already, no lead is "
            "needed. Yours is negative there: return 0.",
            wrong=_no_zero,
        ),
        Mistake(
            key="sign",
            diagnosis="You return the lead with the wrong sign: the others' "
            "logit minus that of the one key.",
            wrong=_inverse,
        ),
        slip(
            "another share of the second map",
            "The second map does not have lam (S - 1) / S on the other keys "
            "in your formula. It is uniform over all S keys: how much of it "
            "lies on S - 1 of them?",
            lead_needed,
            ("lam * (S - 1) / S", "lam / S"),
            ("lam * (S - 1) / S", "lam * (S - 1)"),
            ("lam * (S - 1) / S", "(S - 1) / S"),
            ("lam * (S - 1) / S", "lam * (S - 2) / S"),
            ("lam * (S - 1) / S", "lam * (S + 1) / S"),
            ("lam * (S - 1) / S", "lam * (S - 1) // S"),
            ("lam * (S - 1) / S", "lam * (S - 1) * S"),
            ("lam * (S - 1) / S", "(lam + S - 1) / S"),
        ),
        slip(
            "no logarithm",
            "You return how many times as large the one weight is. The lead "
            "is a difference of logits: the logarithm of a ratio of "
            "weights.",
            lead_needed,
            (
                "float(np.log((S - 1) * (1 - elsewhere) / elsewhere))",
                "float((S - 1) * (1 - elsewhere) / elsewhere)",
            ),
        ),
        slip(
            "another logarithm",
            "Your logarithm has another base. The softmax uses e.",
            lead_needed,
            ("np.log(", "np.log2("),
            ("np.log(", "np.log10("),
        ),
        slip(
            "another ratio",
            "Your ratio is not that of the two weights: the one key has 1 - "
            "elsewhere, and each other key an equal share of elsewhere.",
            lead_needed,
            ("(1 - elsewhere) / elsewhere", "1 / elsewhere"),
            ("(1 - elsewhere) / elsewhere", "(1 - elsewhere)"),
            ("(1 - elsewhere) / elsewhere", "(1 - elsewhere) * elsewhere"),
            ("(1 - elsewhere) / elsewhere", "(1 + elsewhere) / elsewhere"),
            ("(S - 1) * (1 - elsewhere)", "(1 - elsewhere) / (S - 1)"),
            ("(S - 1) * (1 - elsewhere)", "(S + 1) * (1 - elsewhere)"),
            ("(S - 1) * (1 - elsewhere)", "(S - 2) * (1 - elsewhere)"),
            ("(S - 1) * (1 - elsewhere)", "(S - elsewhere)"),
            ("(1 - elsewhere) / elsewhere", "(1 - elsewhere) // elsewhere"),
        ),
        slip(
            "zero in the wrong place",
            "Your lead is 0 where one is needed, or not 0 where none is. "
            "Equal logits have the weight (S - 1) / S elsewhere: when is "
            "that little enough?",
            lead_needed,
            ("elsewhere >= (S - 1) / S", "elsewhere >= 1 / S"),
            ("elsewhere >= (S - 1) / S", "elsewhere <= (S - 1) / S"),
            ("elsewhere >= (S - 1) / S", "elsewhere >= (S - 2) / S"),
            ("return 0.0", "return 1.0"),
        ),
    ),
    hints=(
        "Call a the weight that the first map has on the other keys, all "
        "together. Which a is the largest allowed one? Which lead gives a?",
        "Each other key has a / (S - 1) in the first map and 1 / S in the "
        "second. So the weight elsewhere is |a - lam (S - 1) / S|.",
        "a = eps + lam * (S - 1) / S. The lead is the logarithm of the one "
        "key's weight, 1 - a, over that of another key, a / (S - 1); or 0 if "
        "a is at least (S - 1) / S.",
    ),
)
