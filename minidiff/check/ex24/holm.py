"""Exercise 24.2: Holm's correction for several contrasts."""

from collections.abc import Callable

import numpy as np

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.check.edited import slip


def holm(p: np.ndarray) -> np.ndarray:
    """Return the adjusted p-values of m contrasts, (m,), in p's order.

    p (m,): p-values. The smallest is multiplied by m, the next by m - 1, and
    so on to the largest, which is multiplied by 1. An adjusted value is never
    below that of a smaller p, and never above 1. A contrast passes if its
    adjusted value is at most 0.05.
    """
    order = np.argsort(p)
    times = p[order] * (len(p) - np.arange(len(p)))
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(np.maximum.accumulate(times), 1)
    return adjusted


def _cases() -> list[Case]:
    return [
        Case(name=name, args=(np.array(p),))
        for name, p in (
            ("one contrast", [0.03]),
            ("in order", [0.001, 0.02, 0.05]),
            ("out of order", [0.04, 0.001, 0.02, 0.002]),
            ("close together", [0.012, 0.011, 0.013, 0.3]),
            ("large ones", [0.6, 0.02, 0.9, 0.4]),
            ("seven", [0.3, 0.02, 0.006, 0.012, 0.15, 0.011, 0.15]),
        )
    ]


Correction = Callable[[np.ndarray], np.ndarray]


def _built(
    times: Callable[[np.ndarray, int], np.ndarray],
    *,
    climb: bool = True,
    most: float = 1.0,
    undo: bool = True,
    down: bool = False,
) -> Correction:
    """Build an answer; ``times`` takes the ranks from 0 and their number."""

    def answer(p: np.ndarray) -> np.ndarray:
        m = len(p)
        order = np.argsort(-p if down else p, kind="stable")
        x = p[order] * times(np.arange(m), m)
        x = np.minimum(np.maximum.accumulate(x) if climb else x, most)
        if not undo:
            return x
        out = np.empty(m)
        out[order] = x
        return out

    return answer


def _step_up(times: Callable[[np.ndarray, int], np.ndarray]) -> Correction:
    def answer(p: np.ndarray) -> np.ndarray:
        m = len(p)
        order = np.argsort(p, kind="stable")
        x = p[order] * times(np.arange(m), m)
        out = np.empty(m)
        out[order] = np.minimum(np.minimum.accumulate(x[::-1])[::-1], 1)
        return out

    return answer


def _fewer(i: np.ndarray, m: int) -> np.ndarray:
    return m - i


def _wrong_way_back(p: np.ndarray) -> np.ndarray:
    order = np.argsort(p, kind="stable")
    return np.sort(holm(p))[order]


EXERCISE = Exercise(
    id="24.2",
    cases=_cases,
    solution=holm,
    mistakes=(
        Mistake(
            key="Bonferroni",
            diagnosis="You multiply every p-value by m: Bonferroni's "
            "correction. It is valid, and stricter than needed. Holm "
            "multiplies the next smallest by m - 1, and so on.",
            wrong=_built(lambda i, m: np.full(m, m)),
        ),
        Mistake(
            key="may fall",
            diagnosis="An adjusted value lies below that of a smaller p. "
            "Otherwise a contrast could pass where one with more evidence "
            "fails: take the running maximum.",
            wrong=_built(_fewer, climb=False),
        ),
        Mistake(
            key="above 1",
            diagnosis="An adjusted value is above 1. It is still a "
            "probability: cut it off at 1.",
            wrong=_built(_fewer, most=np.inf),
        ),
        Mistake(
            key="left sorted",
            diagnosis="Your values are right but sorted. Entry i has to "
            "belong to p[i].",
            wrong=_built(_fewer, undo=False),
        ),
        Mistake(
            key="sorted back wrongly",
            diagnosis="You index the sorted values by the order that sorted "
            "them. To undo it, assign to those places: out[order] = sorted.",
            wrong=_wrong_way_back,
        ),
        Mistake(
            key="rank",
            diagnosis="Your smallest p-value is multiplied by 1 and the "
            "largest by m. It is the other way round.",
            wrong=_built(lambda i, m: i + 1),
            also=(_built(lambda i, m: i + 1, climb=False),),
        ),
        Mistake(
            key="largest first",
            diagnosis="You begin with the largest p-value. Begin with the "
            "smallest.",
            wrong=_built(_fewer, down=True),
            also=(_built(_fewer, down=True, most=np.inf),),
        ),
        Mistake(
            key="one too few",
            diagnosis="Your smallest p-value is multiplied by m - 1. It is "
            "the smallest of m: multiply it by m.",
            wrong=_built(lambda i, m: m - 1 - i),
        ),
        Mistake(
            key="Hochberg",
            diagnosis="You take the running minimum from the largest value "
            "down. That is Hochberg's correction, which needs more "
            "assumptions. Holm's is the running maximum from the smallest up.",
            wrong=_step_up(_fewer),
        ),
        Mistake(
            key="Benjamini and Hochberg",
            diagnosis="You multiply by m / rank. That bounds the share of "
            "wrong findings among the findings, which is another promise. "
            "Holm bounds the chance of a single one.",
            wrong=_step_up(lambda i, m: m / (i + 1)),
            also=(_built(lambda i, m: m / (i + 1)),),
        ),
        slip(
            "not multiplied",
            "Your values are not multiplied by the number of contrasts that "
            "are left.",
            holm,
            ("p[order] * (len(p) - np.arange(len(p)))", "p[order]"),
            ("p[order] * (len(p)", "p[order] + (len(p)"),
            ("p[order] * (len(p)", "p[order] / (len(p)"),
        ),
        slip(
            "factors that grow",
            "Your factors grow with the p-value. The smallest is multiplied "
            "by m, the next by one less.",
            holm,
            ("(len(p) - np.arange(len(p)))", "(len(p) + np.arange(len(p)))"),
            ("(len(p) - np.arange(len(p)))", "np.arange(len(p))"),
        ),
        slip(
            "running minimum",
            "You take the running minimum from the smallest value up, so "
            "that no value is above the first. A value is never below that "
            "of a smaller p.",
            holm,
            ("np.maximum.accumulate", "np.minimum.accumulate"),
        ),
        slip(
            "cut off at the wrong side",
            "Your values are all 1 or more, or all 0. A probability is at "
            "most 1: take the smaller.",
            holm,
            (
                "np.minimum(np.maximum.accumulate(times), 1)",
                "np.maximum(np.maximum.accumulate(times), 1)",
            ),
            (
                "np.minimum(np.maximum.accumulate(times), 1)",
                "np.minimum(np.maximum.accumulate(times), 0)",
            ),
        ),
    ),
    hints=(
        "Sort first. Which factor does each sorted value get? And how do the "
        "values find their way back to their contrasts?",
        "order = np.argsort(p); the factors are m, m - 1, ..., 1. "
        "np.maximum.accumulate is a running maximum.",
        "x = p[order] * (m - np.arange(m)); out[order] = "
        "np.minimum(np.maximum.accumulate(x), 1).",
    ),
)
