"""Exercise 23.1: the k-th largest of the logits that a query sees."""

import numpy as np

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.check.edited import slip


def kth_largest(logits: np.ndarray, k: int) -> np.ndarray:
    """Return the k-th largest absolute logit of each head, (H,).

    logits (H, T, T): query t sees the keys 0 to t, and only what a query
    sees counts. k = 1 asks for the largest. Equal values count separately.
    """
    seen = np.tril(np.ones(logits.shape[-2:], dtype=bool))
    sizes = np.sort(np.abs(logits[:, seen]), axis=-1)
    return sizes[:, -k]


def _cases() -> list[Case]:
    cases = []
    for H, T, k in ((1, 1, 1), (2, 4, 1), (3, 6, 3), (2, 9, 10), (2, 5, 2)):
        rng = np.random.default_rng(10 * T + k)
        logits = rng.normal(size=(H, T, T)) - 0.5
        future = np.triu(np.ones((T, T), dtype=bool), 1)
        logits[:, future] *= 5
        if (T, k) == (5, 2):
            logits[:, 3, 1] = logits[:, 4, 0] = -4.0  # equal, and negative
        name = f"H = {H}, T = {T}, k = {k}"
        cases.append(Case(name=name, args=(logits, k)))
    return cases


def _seen(logits: np.ndarray) -> np.ndarray:
    return logits[:, np.tril(np.ones(logits.shape[-2:], dtype=bool))]


def _unique(logits: np.ndarray, k: int) -> np.ndarray:
    rows = [np.unique(np.abs(row)) for row in _seen(logits)]
    return np.array([row[-min(k, len(row))] for row in rows])


EXERCISE = Exercise(
    id="23.1",
    cases=_cases,
    solution=kth_largest,
    mistakes=(
        Mistake(
            key="signs kept",
            diagnosis="You sort the logits with their signs. A large "
            "negative logit makes the steps as coarse as a large positive "
            "one: take absolute values first.",
            wrong=lambda x, k: np.sort(_seen(x), axis=-1)[:, -k],
        ),
        Mistake(
            key="size of the largest",
            diagnosis="You take absolute values only after sorting, so large "
            "negative logits are sorted to the wrong end.",
            wrong=lambda x, k: np.abs(np.sort(_seen(x), axis=-1)[:, -k]),
        ),
        Mistake(
            key="hidden keys counted",
            diagnosis="You count logits of keys that come after the query. "
            "The mask hides them, and they never meet a softmax.",
            wrong=lambda x, k: np.sort(np.abs(x).reshape(len(x), -1), axis=-1)[
                :, -k
            ],
        ),
        Mistake(
            key="smallest",
            diagnosis="That is the k-th smallest: np.sort sorts upwards.",
            wrong=lambda x, k: np.sort(np.abs(_seen(x)), axis=-1)[:, k - 1],
        ),
        Mistake(
            key="counted from 0",
            diagnosis="You count from 0, so that k = 1 gives the second "
            "largest. k = 1 asks for the largest.",
            wrong=lambda x, k: np.sort(np.abs(_seen(x)), axis=-1)[
                :, -min(k + 1, _seen(x).shape[1])
            ],
        ),
        Mistake(
            key="all heads together",
            diagnosis="You sort the logits of all heads together. Return one "
            "number for each head.",
            wrong=lambda x, k: np.sort(np.abs(_seen(x)).ravel())[-k],
            also=(
                lambda x, k: np.full(
                    len(x), np.sort(np.abs(_seen(x)).ravel())[-k]
                ),
            ),
        ),
        Mistake(
            key="equal values once",
            diagnosis="You drop equal values. Each logit counts, also if "
            "another has the same size.",
            wrong=_unique,
        ),
        slip(
            "not sorted",
            "You take the k-th last logit as it stands. Sort the sizes of "
            "each head first.",
            kth_largest,
            (
                "np.sort(np.abs(logits[:, seen]), axis=-1)",
                "np.abs(logits[:, seen])",
            ),
        ),
        slip(
            "sorted over the heads",
            "You sort over the heads, the first axis. Sort the logits "
            "within each head, the last axis.",
            kth_largest,
            ("axis=-1)", "axis=0)"),
            ("axis=-1)", "axis=-2)"),
        ),
    ),
    hints=(
        "First choose which of the T x T logits of a head count, then sort.",
        "logits[:, seen] with a Boolean matrix seen (T, T) has the shape "
        "(H, number of pairs). np.tril makes such a matrix.",
        "np.sort(np.abs(logits[:, seen]), axis=-1)[:, -k].",
    ),
)
