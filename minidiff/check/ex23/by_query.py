"""Exercise 23.4: a differential head whose scale cannot see the future."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from minidiff.check.core import Case, Exercise, Mistake


def rounded_difference(
    logits: np.ndarray, lam: float, bits: int
) -> np.ndarray:
    """Return A1 - lam A2 (T, T) with a scale for each query of each branch.

    logits (2, T, T): exact logits of both branches, not masked; query t sees
    the keys 0 to t. For each branch and query, the largest absolute logit
    that the query sees becomes the integer 2**(bits - 1) - 1; logits are
    rounded to the nearest integer and scaled back. If all that a query sees
    is 0, its logits stay 0. The result has zeros at hidden keys.
    """
    T = logits.shape[-1]
    seen = np.tril(np.ones((T, T), dtype=bool))
    visible = np.where(seen, logits, 0)
    step = np.abs(visible).max(-1, keepdims=True) / (2 ** (bits - 1) - 1)
    step = np.where(step > 0, step, 1)
    coarse = np.where(seen, np.round(visible / step) * step, -np.inf)
    A = np.exp(coarse - coarse.max(-1, keepdims=True))
    A /= A.sum(-1, keepdims=True)
    return A[0] - lam * A[1]


def _cases() -> list[Case]:
    cases = []
    for T, lam, bits in ((1, 0.5, 4), (4, 0.0, 3), (6, 0.8, 3), (9, 0.6, 5)):
        rng = np.random.default_rng(T)
        logits = 3 * rng.normal(size=(2, T, T))
        logits[0] *= 2  # the branches differ in size
        logits += 4 * np.triu(np.ones((T, T)), 1)
        name = f"T = {T}, lam = {lam}, {bits} bits"
        cases.append(Case(name=name, args=(logits, lam, bits)))
    zero = 2 * np.random.default_rng(0).normal(size=(2, 3, 3))
    zero[:, 0, 0] = 0
    zero[1, 1] = 0
    name = "rows of zeros, T = 3, lam = 0.7, 4 bits"
    return [*cases, Case(name=name, args=(zero, 0.7, 4))]


Rounded = Callable[[np.ndarray, float, int], np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Where a wrong answer differs from the right one."""

    axes: tuple[int, ...] = (-1,)  # that share a scale
    hidden_count: bool = False  # in the scale
    signed: bool = False
    hidden: float = 0.0  # stands for hidden keys
    guarded: bool = True  # against a step of 0
    top: Callable[[int], int] = lambda bits: 2 ** (bits - 1) - 1
    sign: float = -1.0


def _built(parts: Parts) -> Rounded:
    def answer(logits: np.ndarray, lam: float, bits: int) -> np.ndarray:
        seen = np.tril(np.ones(logits.shape[-2:], dtype=bool))
        shown = (
            logits
            if parts.hidden_count
            else np.where(seen, logits, parts.hidden)
        )
        size = shown if parts.signed else np.abs(shown)
        step = size.max(parts.axes, keepdims=True) / parts.top(bits)
        if parts.guarded:
            step = np.where(step != 0, step, 1)
        coarse = np.round(logits / step) * step
        A = _softmax(np.where(seen, coarse, -np.inf))
        return A[0] + parts.sign * lam * A[1]

    return answer


def _softmax(x: np.ndarray) -> np.ndarray:
    A = np.exp(x - x.max(-1, keepdims=True))
    return A / A.sum(-1, keepdims=True)


def _seen(logits: np.ndarray) -> np.ndarray:
    return np.tril(np.ones(logits.shape[-2:], dtype=bool))


def _exact(logits: np.ndarray, lam: float, bits: int) -> np.ndarray:
    A = _softmax(np.where(_seen(logits), logits, -np.inf))
    return A[0] - lam * A[1]


def _grid(x: np.ndarray, seen: np.ndarray, bits: int) -> np.ndarray:
    x = np.where(seen, x, 0)
    step = np.abs(x).max(-1, keepdims=True) / (2 ** (bits - 1) - 1)
    return np.round(x / np.where(step > 0, step, 1)) * step


def _difference_rounded(
    logits: np.ndarray, lam: float, bits: int
) -> np.ndarray:
    return _grid(_exact(logits, lam, bits), _seen(logits), bits)


def _before_softmax(logits: np.ndarray, lam: float, bits: int) -> np.ndarray:
    coarse = _grid(logits, _seen(logits), bits)
    return _softmax(
        np.where(_seen(logits), coarse[0] - lam * coarse[1], -np.inf)
    )


EXERCISE = Exercise(
    id="23.4",
    cases=_cases,
    solution=rounded_difference,
    mistakes=(
        Mistake(
            key="a scale for the map",
            diagnosis="All queries of a branch share one scale, as in "
            "exercise 23.3. A later query then changes how an earlier one is "
            "rounded. Take the largest logit over the keys only.",
            wrong=_built(Parts(axes=(-2, -1))),
        ),
        Mistake(
            key="a scale for the key",
            diagnosis="You take the largest logit of each key, over the "
            "queries. The scale belongs to the query: the last axis.",
            wrong=_built(Parts(axes=(-2,))),
        ),
        Mistake(
            key="both branches share",
            diagnosis="Both branches of a query share a scale. Their logits "
            "can differ much in size: each branch has its own.",
            wrong=_built(Parts(axes=(0, -1))),
        ),
        Mistake(
            key="the future sets the scale",
            diagnosis="The scale of a query looks at keys that come after "
            "it. Only what the query sees counts, or the model is no longer "
            "causal.",
            wrong=_built(Parts(hidden_count=True)),
        ),
        Mistake(
            key="largest with its sign",
            diagnosis="Your scale is the largest logit, not the largest "
            "absolute one.",
            wrong=_built(Parts(signed=True)),
            also=(_built(Parts(signed=True, hidden=-np.inf)),),
        ),
        Mistake(
            key="divided by 0",
            diagnosis="Where all logits that a query sees are 0, you divide 0 "
            "by 0. Such logits stay 0: replace a step of 0 by 1.",
            wrong=_built(Parts(guarded=False)),
            also=(lambda *x: np.tril(_built(Parts(guarded=False))(*x)),),
        ),
        Mistake(
            key="no bit for the sign",
            diagnosis="Your largest integer is 2**bits - 1. One of the bits "
            "holds the sign: 2**(bits - 1) - 1.",
            wrong=_built(Parts(top=lambda bits: 2**bits - 1)),
        ),
        Mistake(
            key="added",
            diagnosis="You add the second map. A differential head subtracts "
            "it.",
            wrong=_built(Parts(sign=1.0)),
        ),
        Mistake(
            key="difference rounded",
            diagnosis="You round the difference of the exact maps. The logits "
            "of each branch are rounded, before the softmax.",
            wrong=_difference_rounded,
        ),
        Mistake(
            key="subtracted before the softmax",
            diagnosis="You subtract logits and take one softmax. There are "
            "two softmaxes, and their maps are subtracted.",
            wrong=_before_softmax,
        ),
        Mistake(
            key="not rounded",
            diagnosis="That is the exact difference: nothing is rounded.",
            wrong=_exact,
        ),
    ),
    hints=(
        "Both branches go through the same lines at once; only the last line "
        "tells them apart. Over which axis is the largest logit taken?",
        "visible = np.where(seen, logits, 0); its absolute maximum over the "
        "last axis, with keepdims=True, has the shape (2, T, 1).",
        "step = np.abs(visible).max(-1, keepdims=True) / (2**(bits - 1) - 1), "
        "with 1 where that is 0; then round, scale back, mask with -inf, "
        "softmax, and A[0] - lam * A[1].",
    ),
)
