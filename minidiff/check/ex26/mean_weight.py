"""Exercise 26.2: mean weight of a key over the queries that see it."""

from collections.abc import Callable

import numpy as np

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.check.edited import slip


def mean_weight(W: np.ndarray) -> np.ndarray:
    """Return the mean weight (S,) of each key over the queries that see it.

    W (T, S), T <= S: weights >= 0 of the last T of S tokens, as queries, on
    the keys of all S tokens. The maps are causal: the last query sees all
    keys, the one before it all but the last, and so on. W is 0 where a query
    does not see a key, and may be 0 elsewhere too.
    """
    T, S = W.shape
    sees = np.arange(S) <= np.arange(S - T, S)[:, None]  # (T, S)
    return W.sum(0) / sees.sum(0)


def _cases() -> list[Case]:
    cases = []
    for T, S in ((1, 4), (3, 3), (5, 5), (2, 6), (4, 7)):
        rng = np.random.default_rng(10 * T + S)
        W = rng.random((T, S)) * (rng.random((T, S)) < 0.7)
        W = np.tril(W, S - T)  # the causal mask, aligned to the end
        cases.append(Case(name=f"{T} queries, {S} keys", args=(W,)))
    return cases


def _over(
    count: Callable[[int, int, np.ndarray], np.ndarray | float],
) -> Callable[[np.ndarray], np.ndarray]:
    """Divide the sum over queries by ``count(T, S, j)`` for key j."""

    def answer(W: np.ndarray) -> np.ndarray:
        T, S = W.shape
        return np.asarray(W.sum(0) / count(T, S, np.arange(S)))

    return answer


EXERCISE = Exercise(
    id="26.2",
    cases=_cases,
    solution=mean_weight,
    mistakes=(
        Mistake(
            key="sum",
            diagnosis="You return sums. Early keys are seen by more queries, "
            "so a sum prefers them: divide by the number of queries that see "
            "the key. (The sum is what the paper of H2O takes.)",
            wrong=_over(lambda T, S, j: 1.0),
        ),
        Mistake(
            key="all queries",
            diagnosis="You divide by the number of all queries. A late key "
            "is seen by fewer, and its mean is over those.",
            wrong=_over(lambda T, S, j: float(T)),
            also=(_over(lambda T, S, j: float(S)),),
        ),
        Mistake(
            key="more queries than there are",
            diagnosis="You divide key j by S - j. That is how many of S "
            "queries see it, but W has only the last T of them.",
            wrong=_over(lambda T, S, j: S - j),
        ),
        Mistake(
            key="aligned to the start",
            diagnosis="You count as if the first query were the first token. "
            "The queries are the last T tokens: query i is token S - T + i.",
            wrong=_over(lambda T, S, j: np.maximum(T - j, 0)),
            also=(_over(lambda T, S, j: np.maximum(T - j, 1)),),
        ),
        Mistake(
            key="early and late swapped",
            diagnosis="You divide early keys by few queries and late ones by "
            "many. It is the early keys that all queries see.",
            wrong=_over(lambda T, S, j: np.minimum(j + 1, T)),
            also=(_over(lambda T, S, j: j + 1),),
        ),
        Mistake(
            key="off by one",
            diagnosis="Your counts are off by one. A query sees its own key "
            "too, and the last key has one query.",
            wrong=_over(lambda T, S, j: np.minimum(S - j - 1, T)),
            also=(_over(lambda T, S, j: np.minimum(S - j + 1, T)),),
        ),
        Mistake(
            key="positive weights only",
            diagnosis="You count the weights that are not 0. A query that "
            "sees a key and gives it nothing counts as well.",
            wrong=lambda W: W.sum(0) / np.maximum((W > 0).sum(0), 1),
            also=(lambda W: W.sum(0) / (W > 0).sum(0),),
        ),
        Mistake(
            key="over the keys",
            diagnosis="You take the mean over keys. Each key gets a score: "
            "the mean runs over queries, the first axis.",
            wrong=lambda W: W.mean(1),
            also=(lambda W: W.sum(1),),
        ),
        Mistake(
            key="last query only",
            diagnosis="You return the weights of the last query. All T "
            "queries have a say.",
            wrong=lambda W: W[-1].copy(),
        ),
        slip(
            "over the queries, but turned",
            "Your sums or counts are one for each query. Each key gets a "
            "number: sum over the queries, the first axis.",
            mean_weight,
            ("W.sum(0) / sees.sum(0)", "W.sum(1) / sees.sum(0)"),
            ("W.sum(0) / sees.sum(0)", "W.sum(0) / sees.sum(1)"),
            ("sees.sum(0)", "sees.sum(-1)"),
        ),
        slip(
            "one column of times forgotten",
            "Compare every query with every key: one of the two lists of "
            "places needs a new axis, [:, None].",
            mean_weight,
            ("np.arange(S - T, S)[:, None]", "np.arange(S - T, S)"),
        ),
        slip(
            "counts",
            "These are the numbers of queries that see a key. Where are the "
            "weights?",
            mean_weight,
            ("W.sum(0) / sees.sum(0)", "sees.sum(0)"),
            ("W.sum(0) / sees.sum(0)", "W.sum(0) * sees.sum(0)"),
        ),
        slip(
            "divided twice",
            "You divide by a number of queries twice. A mean is a sum over "
            "the number of queries that see the key.",
            mean_weight,
            ("W.sum(0)", "W.mean(0)"),
        ),
        slip(
            "shares for counts",
            "You divide by the share of queries that see a key. Divide by "
            "their number.",
            mean_weight,
            ("sees.sum(0)", "sees.mean(0)"),
        ),
    ),
    hints=(
        "Query i is token S - T + i. Which keys does it see? And how many "
        "queries see key j?",
        "A table sees[i, j] that is true if j <= S - T + i; its sums over i "
        "are the counts.",
        "W.sum(0) / (np.arange(S) <= np.arange(S - T, S)[:, None]).sum(0)",
    ),
)
