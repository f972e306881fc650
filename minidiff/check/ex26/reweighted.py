"""Exercise 26.1: weights of the kept keys after an eviction."""

from collections.abc import Callable

import numpy as np

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.check.edited import slip
from minidiff.reference import softmax

Head = Callable[[np.ndarray, np.ndarray, float], np.ndarray]


def after_eviction(
    A1: np.ndarray, A2: np.ndarray, lam: float, kept: np.ndarray
) -> np.ndarray:
    """Return the differential weights (n,) of the keys that are kept.

    A1, A2 (S,): weights of one query on all S keys, each a softmax. kept
    (n,): places of the kept keys, ascending. After the eviction each branch
    takes its softmax over the same scores of the kept keys only.
    """
    left1, left2 = A1[kept], A2[kept]
    return left1 / left1.sum() - lam * left2 / left2.sum()


def _cases() -> list[Case]:
    cases = []
    for S, kept, lam in (
        (5, [0, 1, 2, 3, 4], 0.5),
        (3, [1, 2], 0.5),
        (4, [0, 3], 0.8),
        (6, [2], 0.2),
        (9, [0, 1, 4, 7, 8], 1.0),
    ):
        A1, A2 = softmax(2 * np.random.default_rng(S).normal(size=(2, S)))
        name = f"{S} keys, kept {kept}, lam = {lam}"
        cases.append(Case(name=name, args=(A1, A2, lam, np.array(kept))))
    return cases


def _kept(head: Head) -> Callable[..., np.ndarray]:
    """Compute the weights by ``head`` from the kept parts of both maps."""

    def answer(
        A1: np.ndarray, A2: np.ndarray, lam: float, kept: np.ndarray
    ) -> np.ndarray:
        return head(A1[kept], A2[kept], lam)

    return answer


def _to_one(x: np.ndarray) -> np.ndarray:
    return np.asarray(x / x.sum())


EXERCISE = Exercise(
    id="26.1",
    cases=_cases,
    solution=after_eviction,
    mistakes=(
        Mistake(
            key="not rescaled",
            diagnosis="You keep the weights of the full cache. The evicted "
            "keys are gone from the denominators too, so each branch is "
            "divided by what it still has.",
            wrong=_kept(lambda a, b, lam: a - lam * b),
        ),
        Mistake(
            key="difference to 1",
            diagnosis="You divide the difference by its own sum. Each branch "
            "has a softmax of its own: divide both before you subtract.",
            wrong=_kept(lambda a, b, lam: _to_one(a - lam * b)),
        ),
        Mistake(
            key="difference to 1 - lam",
            diagnosis="Your weights sum to 1 - lam, as they should, but by "
            "one common factor. The branches have two different factors: "
            "divide each before you subtract.",
            wrong=_kept(lambda a, b, lam: (1 - lam) * _to_one(a - lam * b)),
        ),
        Mistake(
            key="one factor",
            diagnosis="Both branches are divided by the same sum. Each is "
            "divided by the weight that it has itself on the kept keys.",
            wrong=_kept(lambda a, b, lam: (a - lam * b) / a.sum()),
            also=(
                _kept(lambda a, b, lam: (a - lam * b) / b.sum()),
                _kept(lambda a, b, lam: (a - lam * b) * 2 / (a + b).sum()),
            ),
        ),
        Mistake(
            key="only one branch rescaled",
            diagnosis="One of the branches keeps its weights of the full "
            "cache. The keys are evicted from both.",
            wrong=_kept(lambda a, b, lam: _to_one(a) - lam * b),
            also=(_kept(lambda a, b, lam: a - lam * _to_one(b)),),
        ),
        Mistake(
            key="lambda dropped",
            diagnosis="The second map is subtracted whole. It is weighed by "
            "lam, after its softmax: before, lam cancels.",
            wrong=_kept(lambda a, b, lam: _to_one(a) - _to_one(b)),
        ),
        Mistake(
            key="added",
            diagnosis="You add the second map. It is subtracted.",
            wrong=_kept(lambda a, b, lam: _to_one(a) + lam * _to_one(b)),
        ),
        Mistake(
            key="softmax of weights",
            diagnosis="You take a softmax of weights. They are softmaxes "
            "already, that is exponentials of scores over their sum: divide "
            "by the sum of what is kept.",
            wrong=_kept(lambda a, b, lam: softmax(a) - lam * softmax(b)),
        ),
        Mistake(
            key="evicted keys instead",
            diagnosis="You return the weights of the evicted keys. `kept` "
            "names those that stay.",
            wrong=lambda A1, A2, lam, kept: (
                _to_one(np.delete(A1, kept))
                - lam * _to_one(np.delete(A2, kept))
            ),
        ),
        Mistake(
            key="all S places",
            diagnosis="You return a weight for each of the S keys. The "
            "evicted ones have left the cache: return n weights.",
            wrong=lambda A1, A2, lam, kept: np.where(
                np.isin(np.arange(len(A1)), kept),
                A1 / A1[kept].sum() - lam * A2 / A2[kept].sum(),
                0.0,
            ),
        ),
        slip(
            "branches swapped",
            "Your branches are exchanged, or subtracted the wrong way "
            "round: A1 comes first.",
            after_eviction,
            ("A1[kept], A2[kept]", "A2[kept], A1[kept]"),
            (
                "left1 / left1.sum() - lam * left2 / left2.sum()",
                "lam * left2 / left2.sum() - left1 / left1.sum()",
            ),
        ),
        slip(
            "one branch only",
            "One of the branches is missing from your weights.",
            after_eviction,
            (
                "left1 / left1.sum() - lam * left2 / left2.sum()",
                "left1 / left1.sum()",
            ),
            (
                "left1 / left1.sum() - lam * left2 / left2.sum()",
                "lam * left2 / left2.sum()",
            ),
        ),
        slip(
            "divided by the mean",
            "You divide a branch by the mean of what it keeps. Its weights "
            "should sum to 1.",
            after_eviction,
            ("left1.sum()", "left1.mean()"),
            ("left2.sum()", "left2.mean()"),
            (".sum()", ".mean()"),
        ),
        slip(
            "multiplied",
            "You multiply a branch by the weight that it keeps. It has to "
            "become larger.",
            after_eviction,
            ("left1 / left1.sum()", "left1 * left1.sum()"),
            ("left2 / left2.sum()", "left2 * left2.sum()"),
            ("/ left", "* left"),
        ),
        slip(
            "divided by itself",
            "You divide a branch by itself, or its sum by it. Divide each "
            "weight by the sum of those that are kept.",
            after_eviction,
            ("left1 / left1.sum()", "left1 / left1"),
            ("left2 / left2.sum()", "left2 / left2"),
            ("left1 / left1.sum()", "left1.sum() / left1"),
            ("left1 / left1.sum()", "left1.sum()"),
        ),
    ),
    hints=(
        "A softmax is exponentials over their sum. Which terms of the sum "
        "are gone?",
        "The exponentials of the kept keys are proportional to A1[kept], so "
        "their softmax is A1[kept] divided by its sum. The same for A2.",
        "A1[kept] / A1[kept].sum() - lam * A2[kept] / A2[kept].sum()",
    ),
)
