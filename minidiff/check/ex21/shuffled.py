"""Exercise 21.4: best minus worst when orders do not matter."""

from collections.abc import Callable

import numpy as np

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.check.edited import slip


def shuffled_spreads(
    right: np.ndarray, shuffles: np.ndarray
) -> tuple[np.ndarray, float]:
    """Return the spreads of shuffled outcomes (N,), and a p-value.

    right (K, Q): whether each of Q questions was answered right in each of K
    orders. shuffles (N, K, Q): for each of N draws and each question a
    permutation of 0 to K - 1. In draw n, order k gets for question q the
    outcome that order shuffles[n, k, q] really had. A spread is the best
    accuracy of an order minus the worst. p is the share of spreads at least
    as large as the real one, where the real one counts as one more draw:
    1 is added to the count and to N.
    """
    drawn = np.take_along_axis(right[None], shuffles, axis=1)
    spreads = np.ptp(drawn.mean(2), axis=1)
    real = np.ptp(right.mean(1))
    at_least = (spreads >= real).sum()
    return spreads, float((1 + at_least) / (1 + len(spreads)))


def _cases() -> list[Case]:
    cases = []
    # Q is a power of two: then accuracies are exact, and ties are ties.
    for N, K, Q, effect in ((4, 2, 4, 0.0), (60, 5, 16, 0.5), (99, 10, 32, 0)):
        rng = np.random.default_rng(N)
        easy = rng.random(Q) + effect * np.linspace(-0.5, 0.5, K)[:, None]
        right = rng.random((K, Q)) < easy
        shuffles = rng.random((N, K, Q)).argsort(axis=1)
        name = f"{K} orders, {Q} questions, {N} draws"
        cases.append(Case(name=name, args=(right, shuffles)))
    return cases


Spreads = tuple[np.ndarray, float]
Drawn = Callable[[np.ndarray, np.ndarray], np.ndarray]


def _drawn(right: np.ndarray, shuffles: np.ndarray) -> np.ndarray:
    return np.take_along_axis(right[None], shuffles, axis=1)


def _p(spreads: np.ndarray, real: float) -> float:
    return (1 + (spreads >= real).sum()) / (1 + len(spreads))


def _built(
    drawn: Drawn = _drawn,
    spread: Callable[[np.ndarray], np.ndarray] = lambda x: np.ptp(
        x.mean(-1), axis=-1
    ),
    p: Callable[[np.ndarray, float], float] = _p,
) -> Callable[[np.ndarray, np.ndarray], Spreads]:
    """Build an answer with one thing changed."""

    def answer(right: np.ndarray, shuffles: np.ndarray) -> Spreads:
        spreads = spread(drawn(right, shuffles))
        return spreads, float(p(spreads, float(spread(right))))

    return answer


def _whole_orders(right: np.ndarray, shuffles: np.ndarray) -> np.ndarray:
    return right[shuffles[:, :, 0]]


def _inverse(right: np.ndarray, shuffles: np.ndarray) -> np.ndarray:
    return _drawn(right, shuffles.argsort(axis=1))


EXERCISE = Exercise(
    id="21.4",
    cases=_cases,
    solution=shuffled_spreads,
    mistakes=(
        Mistake(
            key="whole orders shuffled",
            diagnosis="You give all questions the same permutation, which "
            "only renames the orders: the spread stays. Each question has a "
            "permutation of its own.",
            wrong=_built(drawn=_whole_orders),
        ),
        Mistake(
            key="the inverse permutation",
            diagnosis="You move the outcome of order k to order "
            "shuffles[n, k, q]. Order k gets the outcome *of* order "
            "shuffles[n, k, q].",
            wrong=_built(drawn=_inverse),
        ),
        Mistake(
            key="spread over questions",
            diagnosis="Your spread is over questions. Average over the "
            "questions, then take best minus worst over the orders.",
            wrong=_built(
                spread=lambda x: np.ptp(x.mean(-2), axis=-1),
            ),
        ),
        Mistake(
            key="standard deviation",
            diagnosis="You return the standard deviation over orders. A "
            "spread is the best accuracy minus the worst.",
            wrong=_built(spread=lambda x: x.mean(-1).std(-1)),
        ),
        Mistake(
            key="strictly larger",
            diagnosis="You count only spreads that are larger than the real "
            "one. Those as large count too, and with few questions there are "
            "many.",
            wrong=_built(
                p=lambda s, real: (1 + (s > real).sum()) / (1 + len(s))
            ),
        ),
        Mistake(
            key="real one not counted",
            diagnosis="Add 1 to the count and to N for the real spread. "
            "Otherwise p can be 0, which no finite number of draws shows.",
            wrong=_built(p=lambda s, real: (s >= real).mean()),
            also=(
                _built(p=lambda s, real: (1 + (s >= real).sum()) / len(s)),
                _built(p=lambda s, real: (s >= real).sum() / (1 + len(s))),
            ),
        ),
        Mistake(
            key="the small ones counted",
            diagnosis="You count the spreads that are as small or smaller. A "
            "surprise is a spread that shuffling seldom reaches.",
            wrong=_built(
                p=lambda s, real: (1 + (s <= real).sum()) / (1 + len(s))
            ),
            also=(_built(p=lambda s, real: 1 - _p(s, real)),),
        ),
        slip(
            "counts",
            "You mix counts with shares, or return counts. An accuracy is a "
            "mean, in the real outcomes and in the shuffled ones.",
            shuffled_spreads,
            ("mean(", "sum("),
            ("drawn.mean(2)", "drawn.sum(2)"),
        ),
        slip(
            "no share",
            "Your p is not a share: count the spreads at least as large, "
            "and divide by how many there are.",
            shuffled_spreads,
            ("(1 + at_least) / (1 + len(spreads))", "(1 + at_least)"),
            (
                "(1 + at_least) / (1 + len(spreads))",
                "(1 + len(spreads)) / (1 + at_least)",
            ),
            ("(1 + at_least) / ", "(1 + at_least) * "),
            ("(1 + at_least) / ", "(1 + at_least) // "),
        ),
        slip(
            "1 added to a share",
            "You add 1 to a share of draws. It is added to their number.",
            shuffled_spreads,
            ("real).sum()", "real).mean()"),
        ),
        slip(
            "1 added elsewhere",
            "The real spread is one draw more: 1 is added once to the "
            "count, and once to N.",
            shuffled_spreads,
            ("(1 + at_least)", "(2 + at_least)"),
            ("(1 + len(spreads))", "(2 + len(spreads))"),
            ("(1 + at_least)", "(1 - at_least)"),
        ),
        slip(
            "real spread never reached",
            "No shuffled spread reaches your real one. Both are the best "
            "accuracy of an order minus the worst: is the real one a share, "
            "and over the orders?",
            shuffled_spreads,
            ("right.mean(1)", "right.sum(1)"),
            ("right.mean(1)", "right.mean(0)"),
            ("(1 + at_least)", "1"),
        ),
    ),
    hints=(
        "np.take_along_axis takes, along one axis, the entries that an array "
        "of the same number of axes names.",
        "drawn = np.take_along_axis(right[None], shuffles, axis=1) has the "
        "shape (N, K, Q). Its mean over questions is (N, K).",
        "spreads = np.ptp(drawn.mean(2), axis=1); p is "
        "(1 + (spreads >= real).sum()) / (1 + N), where real is "
        "np.ptp(right.mean(1)).",
    ),
    results=("spreads", "p"),
)
