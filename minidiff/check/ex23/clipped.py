"""Exercise 23.4: a differential head in few bits, whatever its outliers."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.check.edited import slip


def clipped_difference(
    logits: np.ndarray, lam: float, bits: int, reach: float
) -> np.ndarray:
    """Return A1 - lam A2 (T, T) of logits clipped and rounded, query by query.

    logits (2, T, T): exact logits of both branches, not masked; query t sees
    the keys 0 to t. For each branch and query, take how far each visible
    logit lies below the largest visible one, and at most reach. Round these
    distances to the nearest multiple of reach / (2**bits - 1), so that they
    are integers without a sign. Each map is the softmax of minus the rounded
    distances. The result has zeros at hidden keys.
    """
    seen = np.tril(np.ones(logits.shape[-2:], dtype=bool))
    visible = np.where(seen, logits, -np.inf)
    below = visible.max(-1, keepdims=True) - visible
    step = reach / (2**bits - 1)
    coarse = np.round(np.minimum(below, reach) / step) * step
    A = np.where(seen, np.exp(-coarse), 0)
    A /= A.sum(-1, keepdims=True)
    return A[0] - lam * A[1]


def _cases() -> list[Case]:
    cases = []
    for T, lam, bits, reach in (
        (1, 0.5, 4, 8.0),
        (4, 0.0, 3, 6.0),
        (6, 0.8, 3, 5.0),
        (9, 0.6, 2, 7.0),
    ):
        rng = np.random.default_rng(T)
        logits = 3 * rng.normal(size=(2, T, T))
        logits[0] += 2  # the branches differ in size, and so do the queries
        logits[1, -1] -= 12
        logits[:, -1, 0] -= 40  # an outlier
        logits[0, 1:2] -= 2e10  # a softmax does not see the shift of a row
        logits += 6 * np.triu(np.ones((T, T)), 1)
        name = f"T = {T}, lam = {lam}, {bits} bits, reach = {reach}"
        cases.append(Case(name=name, args=(logits, lam, bits, reach)))
    # Distances of 0.5 and 2.5 with a step of 1: np.round takes them to 0, 2.
    logits = np.zeros((2, 3, 3)) - np.array([0.5, 0, 2.5])
    return [*cases, Case(name="halves", args=(logits, 0.5, 3, 7.0))]


Clipped = Callable[[np.ndarray, float, int, float], np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Where a wrong answer differs from the right one."""

    axes: tuple[int, ...] = (-1,)  # that share a largest logit
    hidden_count: bool = False  # in it
    size: Callable[[np.ndarray], np.ndarray] = lambda x: x
    clip: bool = True
    drop: bool = False  # what lies below reach gets no weight
    round: Callable[[np.ndarray], np.ndarray] = np.round
    top: Callable[[int], int] = lambda bits: 2**bits - 1
    back: bool = True
    down: float = -1.0
    second: float = -1.0


def _built(parts: Parts) -> Clipped:
    def answer(
        logits: np.ndarray, lam: float, bits: int, reach: float
    ) -> np.ndarray:
        seen = np.tril(np.ones(logits.shape[-2:], dtype=bool))
        sizes = parts.size(logits)
        if not parts.hidden_count:
            sizes = np.where(seen, sizes, -np.inf)
        below = sizes.max(parts.axes, keepdims=True) - logits
        step = reach / parts.top(bits)
        kept = np.minimum(below, reach) if parts.clip else below
        coarse = parts.round(kept / step) * (step if parts.back else 1)
        coarse = np.where(seen, parts.down * coarse, -np.inf)
        if parts.drop:
            coarse = np.where(below > reach, -np.inf, coarse)
        A = _softmax(coarse)
        return A[0] + parts.second * lam * A[1]

    return answer


def _softmax(x: np.ndarray) -> np.ndarray:
    A = np.exp(x - x.max(-1, keepdims=True))
    return A / A.sum(-1, keepdims=True)


def _not_shifted(
    logits: np.ndarray, lam: float, bits: int, reach: float
) -> np.ndarray:
    seen = np.tril(np.ones(logits.shape[-2:], dtype=bool))
    step = reach / (2 ** (bits - 1) - 1)
    coarse = np.round(np.clip(logits, -reach, reach) / step) * step
    A = _softmax(np.where(seen, coarse, -np.inf))
    return A[0] - lam * A[1]


EXERCISE = Exercise(
    id="23.4",
    cases=_cases,
    solution=clipped_difference,
    mistakes=(
        Mistake(
            key="one largest for the map",
            diagnosis="All queries of a branch share one largest logit. A "
            "query whose logits are all smaller is then clipped whole. Take "
            "the maximum over the keys only.",
            wrong=_built(Parts(axes=(-2, -1))),
        ),
        Mistake(
            key="both branches share",
            diagnosis="Both branches of a query share a largest logit. Each "
            "branch has a softmax of its own, and its own largest logit.",
            wrong=_built(Parts(axes=(0, -1))),
        ),
        Mistake(
            key="the future counts",
            diagnosis="Your largest logit looks at keys that come after the "
            "query. Only what the query sees counts, or the model is no "
            "longer causal.",
            wrong=_built(Parts(hidden_count=True)),
        ),
        Mistake(
            key="absolute values",
            diagnosis="You measure from the largest absolute logit. A softmax "
            "compares with the largest one: a large negative logit is only "
            "far below it.",
            wrong=_built(Parts(size=np.abs)),
        ),
        Mistake(
            key="a bit for the sign",
            diagnosis="You keep a bit for the sign. Distances are never "
            "negative: their largest integer is 2**bits - 1.",
            wrong=_built(Parts(top=lambda bits: 2 ** (bits - 1) - 1)),
        ),
        Mistake(
            key="one integer too many",
            diagnosis="Your step is reach / 2**bits. The integers 0 to "
            "2**bits - 1 have 2**bits - 1 steps between them.",
            wrong=_built(Parts(top=lambda bits: 2**bits)),
        ),
        Mistake(
            key="not clipped",
            diagnosis="You do not clip. Distances above reach would need "
            "larger integers than there are.",
            wrong=_built(Parts(clip=False)),
        ),
        Mistake(
            key="dropped",
            diagnosis="What lies further below than reach gets no weight at "
            "all. It is clipped: its distance is reach.",
            wrong=_built(Parts(drop=True)),
        ),
        Mistake(
            key="rounded down",
            diagnosis="You round distances down, or up. Round them to the "
            "nearest integer.",
            wrong=_built(Parts(round=np.floor)),
            also=(_built(Parts(round=np.ceil)),),
        ),
        Mistake(
            key="not scaled back",
            diagnosis="The softmax gets the integers. Multiply them by the "
            "step first.",
            wrong=_built(Parts(back=False)),
        ),
        Mistake(
            key="distances added",
            diagnosis="Your largest weight lies on the smallest logit. Take "
            "the softmax of minus the distances.",
            wrong=_built(Parts(down=1.0)),
        ),
        Mistake(
            key="second map added",
            diagnosis="You add the second map. A differential head subtracts "
            "it.",
            wrong=_built(Parts(second=1.0)),
        ),
        Mistake(
            key="not shifted",
            diagnosis="You clip the logits themselves, at reach on both sides "
            "of 0. Subtract the query's largest logit first: a softmax does "
            "not see the shift.",
            wrong=_not_shifted,
        ),
        Mistake(
            key="not rounded",
            diagnosis="You clip and do not round.",
            wrong=_built(Parts(round=lambda x: x)),
        ),
        slip(
            "no mask",
            "Queries see keys that come after them. Each of these must "
            "weigh 0 in the result.",
            clipped_difference,
            (
                "np.tril(np.ones(logits.shape[-2:], dtype=bool))",
                "np.ones(logits.shape[-2:], dtype=bool)",
            ),
        ),
        slip(
            "mask the wrong way round",
            "You hide the keys that a query sees, and show those that come "
            "after it.",
            clipped_difference,
            ("np.tril(", "np.triu("),
        ),
        slip(
            "hidden keys weigh 1",
            "Hidden keys have a weight before you divide by the sum of a "
            "row. It should be 0.",
            clipped_difference,
            ("np.exp(-coarse), 0)", "np.exp(-coarse), 1)"),
        ),
        slip(
            "distance the wrong way round",
            "Your distances are negative, or no distances. A logit lies "
            "below the largest one of its row by that one minus itself.",
            clipped_difference,
            (
                "visible.max(-1, keepdims=True) - visible",
                "visible - visible.max(-1, keepdims=True)",
            ),
            ("visible.max(-1, keepdims=True) - visible", "visible"),
            (
                "visible.max(-1, keepdims=True) - visible",
                "visible.max(-1, keepdims=True) + visible",
            ),
        ),
        slip(
            "maximum over the queries",
            "Your largest logit is taken over queries, not over the keys of "
            "one query.",
            clipped_difference,
            (
                ".max(-1, keepdims=True) - visible",
                ".max(1, keepdims=True) - visible",
            ),
        ),
        slip(
            "another number of integers",
            "Your number of steps up to reach is another one. How far do so "
            "many bits count, without a sign?",
            clipped_difference,
            ("(2**bits - 1)", "(2**bits - 2)"),
            ("(2**bits - 1)", "(2**bits + 1)"),
            ("(2**bits - 1)", "(2 * bits - 1)"),
            ("(2**bits - 1)", "(bits**2 - 1)"),
            ("(2**bits - 1)", "(bits - 1)"),
        ),
        slip(
            "no integers",
            "Your step does not depend on the number of bits.",
            clipped_difference,
            ("reach / (2**bits - 1)", "reach"),
            ("reach / (2**bits - 1)", "1.0"),
        ),
        slip(
            "step upside down",
            "Your step is not the distance that one integer stands for. "
            "Divide by it to round, and multiply by it to scale back.",
            clipped_difference,
            ("reach / (2**", "reach * (2**"),
            ("reach / (2**bits - 1)", "(2**bits - 1) / reach"),
            ("reach / (2**bits - 1)", "(2**bits - 1)"),
            ("reach) / step) * step", "reach) * step) * step"),
            ("reach) / step) * step", "reach) * step) / step"),
            ("reach) / step) * step", "reach) / step) / step"),
            ("reach) / step) * step", "reach)) * step"),
        ),
        slip(
            "clipped from below",
            "You take the larger of a distance and reach. A distance is at "
            "most reach.",
            clipped_difference,
            ("np.minimum(below, reach)", "np.maximum(below, reach)"),
        ),
        slip(
            "softmax over another axis",
            "Your sum does not run over the keys of a row, the last axis.",
            clipped_difference,
            ("A.sum(-1, keepdims=True)", "A.sum(1, keepdims=True)"),
            ("A.sum(-1, keepdims=True)", "A.sum(0, keepdims=True)"),
        ),
        slip(
            "not normalised",
            "The rows of your maps do not sum to 1. A softmax divides by "
            "the sum of its row.",
            clipped_difference,
            ("A /= A.sum(-1, keepdims=True)", "A /= 1"),
            (
                "A /= A.sum(-1, keepdims=True)",
                "A /= A.mean(-1, keepdims=True)",
            ),
            ("A /= A.sum", "A *= A.sum"),
        ),
        slip(
            "one map only",
            "One of the two maps is missing from your result, or stands in "
            "both places.",
            clipped_difference,
            ("A[0] - lam * A[1]", "A[0]"),
            ("A[0] - lam * A[1]", "lam * A[1]"),
            ("A[0] - lam * A[1]", "A[0] - lam * A[0]"),
            ("A[0] - lam * A[1]", "A[1] - lam * A[1]"),
        ),
        slip(
            "lambda dropped",
            "The second map is not weighed by lam.",
            clipped_difference,
            ("lam * A[1]", "A[1]"),
            ("lam * A[1]", "(lam + A[1])"),
        ),
        slip(
            "maps swapped",
            "The second map comes first in your difference, or the sign is "
            "wrong.",
            clipped_difference,
            ("A[0] - lam * A[1]", "lam * A[1] - A[0]"),
            ("A[0] - lam * A[1]", "A[1] - lam * A[0]"),
        ),
        slip(
            "hidden by a number",
            "Hidden logits are set to a large negative number. A query "
            "whose visible logits are as low would look at hidden keys: use "
            "minus infinity.",
            clipped_difference,
            ("-np.inf", "-1e4"),
            ("-np.inf", "-1e9"),
            ("-np.inf", "-9e3"),
        ),
    ),
    hints=(
        "Both branches go through the same lines at once; only the last line "
        "tells them apart. A softmax does not change if the same number is "
        "subtracted from all logits of a query.",
        "visible = np.where(seen, logits, -np.inf); below = visible.max(-1, "
        "keepdims=True) - visible, infinite at hidden keys; then np.minimum "
        "with reach.",
        "step = reach / (2**bits - 1); coarse = np.round(np.minimum(below, "
        "reach) / step) * step; np.exp(-coarse), with zeros at hidden keys, "
        "divided by its sum; A[0] - lam * A[1].",
    ),
)
