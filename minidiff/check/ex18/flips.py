"""Exercise 18.2: the sign-flip test, with no table of Student's t."""

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.check.edited import slip


def sign_flip_share(differences: np.ndarray) -> float:
    """Return the share of sign patterns as far from zero as the data.

    differences (n,). If the kind made no difference, each difference could
    as well have had the other sign. Of all 2^n choices of signs, count those
    whose sum is at least as far from 0, on either side, as the sum of the
    differences as they are. That choice itself counts too.
    """
    observed = abs(differences.sum())
    sums = [
        abs((differences * signs).sum())
        for signs in product((1, -1), repeat=len(differences))
    ]
    return float(np.mean([s >= observed for s in sums]))


def _run(
    answer: Callable[[np.ndarray], float], differences: np.ndarray
) -> Any:
    """Return whether all calls give the same, and the share if so.

    An answer that draws random signs gives another share at nearly each call.
    """
    share = answer(differences)
    if share is None:
        return None
    if all(np.array_equal(share, answer(differences)) for _ in range(5)):
        return True, share
    return False, np.nan


def _cases() -> list[Case]:
    # Values whose sums are exact in binary, so that rounding decides nothing.
    return [
        Case(name=f"differences {values}", args=(np.array(values) / 8,))
        for values in (
            [-3, -1, 2, -4],
            [5, 1],
            [-2, -2, -3, -1, 4],
            [1, 2, 3, 4, 6, 7],
        )
    ]


def _share(
    count: Callable[[np.ndarray, float], np.ndarray],
) -> Callable[[np.ndarray], float]:
    """Return a test that counts the sums (2^n,) in another way."""

    def answer(differences: np.ndarray) -> float:
        signs = np.array(list(product((1, -1), repeat=len(differences))))
        return float(count(signs @ differences, differences.sum()).mean())

    return answer


def _random(differences: np.ndarray) -> float:
    size = (999, len(differences))
    signs = np.random.default_rng().choice((1, -1), size)
    as_far = abs(signs @ differences) >= abs(differences.sum())
    return float(as_far.mean())


EXERCISE = Exercise(
    id="18.2",
    cases=_cases,
    solution=sign_flip_share,
    run=_run,
    results=("equal at every call", "share"),
    mistakes=(
        Mistake(
            key="one side",
            diagnosis="You count one side only. A difference as large in the "
            "other direction would have surprised as much: compare absolute "
            "values.",
            wrong=_share(lambda sums, seen: np.sign(seen) * sums >= abs(seen)),
            also=(
                _share(lambda sums, seen: sums >= seen),
                _share(lambda sums, seen: sums <= seen),
            ),
        ),
        Mistake(
            key="only more extreme",
            diagnosis="You leave out the patterns that are exactly as "
            "one-sided as the data, the data among them. Count >=, not >.",
            wrong=_share(lambda sums, seen: abs(sums) > abs(seen)),
        ),
        Mistake(
            key="the data not counted",
            diagnosis="The signs as they are count too: they are one of the "
            "2^n choices. Without them the share can be 0, which no finite "
            "data can show.",
            wrong=lambda d: sign_flip_share(d) - 2.0 ** -len(d),
            also=(
                lambda d: (
                    (sign_flip_share(d) * 2 ** len(d) - 1) / (2 ** len(d) - 1)
                ),
            ),
        ),
        Mistake(
            key="random signs",
            diagnosis="You draw signs at random, and every call gives another "
            "share. There are only 2^n choices: take each of them once.",
            wrong=_random,
        ),
        Mistake(
            key="the others",
            diagnosis="That is the share of the less one-sided patterns. "
            "Return 1 minus it.",
            wrong=_share(lambda sums, seen: abs(sums) < abs(seen)),
        ),
        Mistake(
            key="count, not share",
            diagnosis="That is a count. Divide it by the 2^n patterns.",
            wrong=lambda d: sign_flip_share(d) * 2 ** len(d),
        ),
        Mistake(
            key="sizes ignored",
            diagnosis="You count signs alone. The sign-flip test keeps the "
            "size of each difference and changes only its sign.",
            wrong=lambda d: _share(lambda sums, seen: abs(sums) >= abs(seen))(
                np.sign(d)
            ),
        ),
        slip(
            "data with its sign",
            "You compare with the sum of the data as it is. It is how far "
            "it lies from 0 that counts, on either side.",
            sign_flip_share,
            ("abs(differences.sum())\n", "differences.sum()\n"),
        ),
        slip(
            "a mean against sums",
            "You compare a mean with sums. Take the same of the data as of "
            "the patterns.",
            sign_flip_share,
            ("abs(differences.sum())", "abs(differences.mean())"),
            ("signs).sum())", "signs).mean())"),
        ),
        slip(
            "differences left out",
            "Your choices leave differences out, or change their size. Each "
            "keeps its size, with the sign + or -.",
            sign_flip_share,
            ("(1, -1)", "(1, 0)"),
            ("(1, -1)", "(0, -1)"),
            ("(1, -1)", "(2, -1)"),
            ("(1, -1)", "(1, -2)"),
        ),
        slip(
            "signs added",
            "You add the signs to the differences. A sign multiplies.",
            sign_flip_share,
            ("differences * signs", "differences + signs"),
        ),
        slip(
            "signs not used",
            "Your patterns all have the signs of the data, so that the "
            "share is 1.",
            sign_flip_share,
            ("(differences * signs).sum()", "differences.sum()"),
            ("(1, -1)", "(1, 1)"),
        ),
        slip(
            "less one-sided",
            "You count the patterns that are as far from 0 or nearer. A "
            "surprise lies as far out or farther.",
            sign_flip_share,
            (">= observed", "<= observed"),
        ),
    ),
    hints=(
        "itertools.product((1, -1), repeat=n) gives every choice of n signs.",
        "For each choice compute abs((differences * signs).sum()). Compare it "
        "with the value for all signs +1.",
        "np.mean([abs((d * s).sum()) >= abs(d.sum()) for s in "
        "product((1, -1), repeat=len(d))]).",
    ),
)
