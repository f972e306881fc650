"""Problem P1.2: two parts of a row become one."""

from collections.abc import Callable
from typing import Any

import numpy as np

from minidiff.check.core import Case, Exercise, Mistake

Part = tuple[float, float, np.ndarray]


def merge(a: Part, b: Part) -> Part:
    """Return the part that two parts of one row make together.

    A part (m, z, u) of some keys: m the largest score, z the sum of
    exp(score - m), u (Dv,) the sum of exp(score - m) * value. A part without
    keys is (-inf, 0, zeros), and two of them make another one.
    """
    (m1, z1, u1), (m2, z2, u2) = a, b
    m = max(m1, m2)
    if m == -np.inf:
        return m, 0.0, 0 * u1
    f1, f2 = np.exp(m1 - m), np.exp(m2 - m)
    return m, f1 * z1 + f2 * z2, f1 * u1 + f2 * u2


def _run(
    answer: Callable[..., Any],
    m1: float,
    z1: float,
    u1: np.ndarray,
    m2: float,
    z2: float,
    u2: np.ndarray,
) -> Any:
    """Parts travel flat, so that a vector changed in place is noticed."""
    return answer((m1, z1, u1), (m2, z2, u2))


def _cases() -> list[Case]:
    rng = np.random.default_rng(0)
    maxima = {
        "the second maximum is larger": (1.0, 2.5),
        "the first maximum is larger": (0.5, -1.0),
        "equal maxima": (3.0, 3.0),
        "maxima a thousand apart": (-500.0, 500.0),
        "no keys in the first part": (-np.inf, 2.0),
        "no keys in the second part": (-2.0, -np.inf),
        "no keys in either part": (-np.inf, -np.inf),
    }
    cases = []
    for name, pair in maxima.items():
        args = []
        for m in pair:
            empty = m == -np.inf
            z = 0.0 if empty else 1.0 + rng.uniform()
            u = np.zeros(3) if empty else rng.normal(size=3)
            args += [m, z, u]
        cases.append(Case(name=name, args=tuple(args)))
    return cases


Factors = Callable[[float, float, float], tuple[float, float]]


def _right(m1: float, m2: float, m: float) -> tuple[float, float]:
    return np.exp(m1 - m), np.exp(m2 - m)


def _to_second(m1: float, m2: float, m: float) -> tuple[float, float]:
    return np.exp(m1 - m2), 1.0


def _like(
    factors: Factors = _right, *, vector: str = "", guard: bool = False
) -> Callable[[Part, Part], Part]:
    """A merge with something about it changed: the mistakes below."""

    def wrong(a: Part, b: Part) -> Part:
        (m1, z1, u1), (m2, z2, u2) = a, b
        m = max(m1, m2)
        if guard and m == -np.inf:
            return m, 0.0, 0 * u1
        f1, f2 = factors(m1, m2, m)
        z, u = f1 * z1 + f2 * z2, f1 * u1 + f2 * u2
        if vector == "added":
            u = u1 + u2
        if vector == "divided":
            u = u / z
        if vector == "averaged":
            u = (f1 * z1 * u1 + f2 * z2 * u2) / z
        return m, z, u

    return wrong


def _second_first(a: Part, b: Part) -> Part:
    """The second part's maximum, with care for an empty first part."""
    if a[0] == -np.inf:
        return b
    f = np.exp(a[0] - b[0])
    return b[0], f * a[1] + b[1], f * a[2] + b[2]


def _empty_wins(a: Part, b: Part) -> Part:
    if -np.inf in (a[0], b[0]):
        return -np.inf, 0.0, 0 * a[2]
    return merge(a, b)


def _mistake(key: str, diagnosis: str, *how: Any, **also: Any) -> Mistake:
    """A mistake with and without care for two parts without keys."""
    return Mistake(
        key=key,
        diagnosis=diagnosis,
        wrong=_like(*how, **also),
        also=(_like(*how, **also, guard=True),),
    )


EXERCISE = Exercise(
    id="P1.2",
    cases=_cases,
    solution=merge,
    run=_run,
    results=("m", "z", "u"),
    mistakes=(
        _mistake(
            "nothing rescaled",
            "z and u are added as they come. Each is relative to its own "
            "part's maximum: multiply by exp(own maximum - common maximum) "
            "first.",
            lambda m1, m2, m: (1.0, 1.0),
        ),
        _mistake(
            "only the first rescaled",
            "Only the first part is rescaled. Nobody says that the second "
            "has the larger maximum: each needs its own factor.",
            lambda m1, m2, m: (np.exp(m1 - m), 1.0),
        ),
        Mistake(
            key="second taken as larger",
            diagnosis="The factor is exp(m1 - m2) whichever is larger, and z "
            "and u then belong to m2. Take the larger of the two maxima, and "
            "one factor for each part.",
            wrong=_like(_to_second),
            also=(_like(_to_second, guard=True), _second_first),
        ),
        Mistake(
            key="one part without keys",
            diagnosis="Where one part has no keys you return a part without "
            "keys. Then the other part is all there is: return that.",
            wrong=_empty_wins,
        ),
        _mistake(
            "rescaled the wrong way",
            "The factors are exp(m - m1) and exp(m - m2). A larger maximum "
            "makes each term smaller: exp(m1 - m) and exp(m2 - m).",
            lambda m1, m2, m: (np.exp(m - m1), np.exp(m - m2)),
        ),
        _mistake(
            "vector not rescaled",
            "z is right, but u is added as it comes. It holds the same "
            "exponentials as z, so it needs the same factors.",
            vector="added",
        ),
        _mistake(
            "divided",
            "u is divided by z. A part keeps the bare sum, so that it can be "
            "merged again; divide once, at the very end.",
            vector="divided",
        ),
        _mistake(
            "vectors averaged",
            "u is averaged with the sums z as weights. That is right for "
            "outputs u / z, but u is a sum already: rescale and add.",
            vector="averaged",
        ),
        Mistake(
            key="two parts without keys",
            diagnosis="Two parts without keys give NaN, because -inf - "
            "(-inf) is not a number. Return a part without keys before you "
            "take the difference.",
            wrong=_like(),
        ),
    ),
    hints=(
        "P1.1 rescaled the old sum only. When may both parts need it?",
        "m = max(m1, m2). The terms of part 1 were relative to m1: multiply "
        "z1 and u1 by exp(m1 - m), and z2 and u2 by exp(m2 - m). What "
        "happens if both maxima are -inf?",
        "f1, f2 = np.exp(m1 - m), np.exp(m2 - m); return m, f1 * z1 + f2 * "
        "z2, f1 * u1 + f2 * u2, and for m == -np.inf a part without keys.",
    ),
)
