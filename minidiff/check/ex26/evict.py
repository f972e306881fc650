"""Exercise 26.3: keep the keys of highest score in a cache."""

from collections.abc import Callable

import numpy as np

from minidiff.check.core import Case, Exercise, Mistake

Cache = tuple[np.ndarray, np.ndarray, np.ndarray]


def evict(
    K: np.ndarray, V: np.ndarray, scores: np.ndarray, budget: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the keys and values that are kept, and their places.

    K (H, 2, S, D): keys of both branches. V (H, S, 2D): values. scores
    (H, S), no two of a head equal. Each head keeps the keys of its own n
    highest scores, n = min(budget, S), in both branches and the values, in
    the order in which they stood. Results: K (H, 2, n, D), V (H, n, 2D), and
    the places (H, n) that they had among the S.
    """
    kept = np.sort(np.argsort(-scores)[:, :budget])
    K = np.take_along_axis(K, kept[:, None, :, None], axis=2)
    V = np.take_along_axis(V, kept[:, :, None], axis=1)
    return K, V, kept


def _cases() -> list[Case]:
    cases = []
    for H, S, D, budget in (
        (1, 4, 2, 2),
        (2, 3, 1, 5),
        (3, 7, 2, 3),
        (2, 6, 4, 1),
        (2, 9, 3, 7),
    ):
        rng = np.random.default_rng(S)
        K = rng.normal(size=(H, 2, S, D))
        V = rng.normal(size=(H, S, 2 * D))
        scores = rng.permuted(np.tile(np.arange(S) + 0.5, (H, 1)), axis=1)
        # Some heads have larger scores than others.
        scores *= np.arange(1, H + 1)[::-1, None]
        name = f"H = {H}, S = {S}, D = {D}, budget = {budget}"
        cases.append(Case(name=name, args=(K, V, scores, budget)))
    return cases


def _with(
    choose: Callable[[np.ndarray, int], np.ndarray],
) -> Callable[..., Cache]:
    """Evict with places (H, n) that ``choose(scores, budget)`` returns."""

    def answer(
        K: np.ndarray, V: np.ndarray, scores: np.ndarray, budget: int
    ) -> Cache:
        kept = choose(scores, budget)
        return _at(K, kept), _values_at(V, kept), kept

    return answer


def _at(K: np.ndarray, kept: np.ndarray) -> np.ndarray:
    return np.take_along_axis(K, kept[:, None, :, None], axis=2)


def _values_at(V: np.ndarray, kept: np.ndarray) -> np.ndarray:
    return np.take_along_axis(V, kept[:, :, None], axis=1)


def _best(scores: np.ndarray, budget: int) -> np.ndarray:
    return np.sort(np.argsort(-scores)[:, :budget])


def _for_all(
    merge: Callable[[np.ndarray], np.ndarray],
) -> Callable[..., Cache]:
    """Evict the same places in every head, by merged scores (S,)."""
    return _with(
        lambda scores, budget: np.tile(
            _best(merge(scores)[None], budget), (len(scores), 1)
        )
    )


def _first_values(
    K: np.ndarray, V: np.ndarray, scores: np.ndarray, budget: int
) -> Cache:
    kept = _best(scores, budget)
    return _at(K, kept), V[:, : kept.shape[1]].copy(), kept


def _values_of_head_0(
    K: np.ndarray, V: np.ndarray, scores: np.ndarray, budget: int
) -> Cache:
    kept = _best(scores, budget)
    return _at(K, kept), V[:, kept[0]], kept


def _second_branch_first(
    K: np.ndarray, V: np.ndarray, scores: np.ndarray, budget: int
) -> Cache:
    kept = _best(scores, budget)
    n = kept.shape[1]
    both = np.stack([_at(K, kept)[:, 0], K[:, 1, :n]], axis=1)
    return both, _values_at(V, kept), kept


def _renumbered(
    K: np.ndarray, V: np.ndarray, scores: np.ndarray, budget: int
) -> Cache:
    kept = _best(scores, budget)
    places = np.tile(np.arange(kept.shape[1]), (len(kept), 1))
    return _at(K, kept), _values_at(V, kept), places


EXERCISE = Exercise(
    id="26.3",
    cases=_cases,
    solution=evict,
    results=("K", "V", "the places"),
    mistakes=(
        Mistake(
            key="lowest kept",
            diagnosis="You keep the lowest scores. np.argsort sorts in "
            "ascending order: sort -scores, or take from the end.",
            wrong=_with(lambda s, n: np.sort(np.argsort(s)[:, :n])),
        ),
        Mistake(
            key="order of scores",
            diagnosis="You keep the right keys, but in the order of their "
            "scores. Attention does not notice, but whoever evicts next "
            "takes the last keys for the most recent ones: sort the places.",
            wrong=_with(lambda s, n: np.argsort(-s)[:, :n]),
            also=(_with(lambda s, n: np.argsort(-s)[:, :n][:, ::-1].copy()),),
        ),
        Mistake(
            key="one choice for all heads",
            diagnosis="All heads keep the same keys. Each head has its own "
            "scores and keeps its own.",
            wrong=_for_all(lambda s: s.mean(0)),
            also=(
                _for_all(lambda s: s[0]),
                _for_all(lambda s: s.max(0)),
            ),
        ),
        Mistake(
            key="budget evicted",
            diagnosis="You evict `budget` keys. It is the number that stay.",
            wrong=_with(
                lambda s, n: np.sort(np.argsort(s)[:, min(n, s.shape[1]) :])
            ),
        ),
        Mistake(
            key="most recent",
            diagnosis="You keep the last keys, whatever their scores.",
            wrong=_with(
                lambda s, n: np.tile(np.arange(s.shape[1])[-n:], (len(s), 1))
            ),
        ),
        Mistake(
            key="first ones",
            diagnosis="You keep the first keys, whatever their scores.",
            wrong=_with(
                lambda s, n: np.tile(np.arange(s.shape[1])[:n], (len(s), 1))
            ),
        ),
        Mistake(
            key="values not chosen",
            diagnosis="The keys are right, but the values are the first n. "
            "A key and its value belong together: take both at the same "
            "places.",
            wrong=_first_values,
        ),
        Mistake(
            key="values of another head's choice",
            diagnosis="The values of all heads are taken at the places of "
            "head 0. Each head has its own places.",
            wrong=_values_of_head_0,
        ),
        Mistake(
            key="second branch not chosen",
            diagnosis="The keys of branch 2 are the first n. Both branches "
            "keep the same places.",
            wrong=_second_branch_first,
        ),
        Mistake(
            key="places counted anew",
            diagnosis="You return places 0 to n - 1. Asked for are those "
            "that the kept keys had among the S.",
            wrong=_renumbered,
        ),
    ),
    hints=(
        "First the places, (H, n). np.argsort(-scores) begins with the "
        "highest.",
        "np.sort puts the places in order again. np.take_along_axis needs an "
        "index with as many axes as the array: kept[:, None, :, None] for K.",
        "kept = np.sort(np.argsort(-scores)[:, :budget]); then "
        "np.take_along_axis(K, kept[:, None, :, None], axis=2), and for V "
        "kept[:, :, None] and axis=1.",
    ),
)
