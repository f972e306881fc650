"""Exercise 19.3: does a model hold on rows harder than it was trained on?"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.check.edited import slip

Model = Callable[[np.ndarray], np.ndarray]
Rows = tuple[np.ndarray, np.ndarray]
Verdict = tuple[float, float, float, int]


def drop(
    model: Callable[[np.ndarray], np.ndarray],
    usual: tuple[np.ndarray, np.ndarray],
    harder: tuple[np.ndarray, np.ndarray],
    allowed: float,
) -> tuple[float, float, float, int]:
    """Return the drop of accuracy, its interval's two ends, and a verdict.

    model: takes inputs (B, T), gives logits (B, T, V). usual and harder:
    inputs and targets (B, T) each, a target being -100 except at a query.
    drop: accuracy on the usual rows minus accuracy on the harder rows, each
    the mean of its rows' own shares of right queries. The rows are the units:
    the interval is drop +- 1.96 sqrt(s1^2 / n1 + s2^2 / n2), with s^2 the
    variance of the rows' shares, dividing by n - 1.
    verdict: 1 if the whole interval lies above allowed (the model fails), -1
    if all of it lies below (it holds), 0 if that cannot be told.
    """
    means, errors = [], []
    for inputs, targets in (usual, harder):
        asked = targets != -100
        right = (model(inputs).argmax(-1) == targets) & asked
        shares = right.sum(1) / asked.sum(1)
        means.append(shares.mean())
        errors.append(shares.var(ddof=1) / len(shares))
    gap, half = means[0] - means[1], 1.96 * np.sqrt(sum(errors))
    verdict = int(gap - half > allowed) - int(gap + half < allowed)
    return gap, gap - half, gap + half, verdict


def _rows(seed: int, n: int, T: int, right: float) -> Rows:
    """Return n rows; ``_model`` answers about a share ``right`` of them."""
    rng = np.random.default_rng(seed)
    inputs = rng.integers(0, 20, (n, T))
    asked = rng.random((n, T)) < 0.4
    asked[:, 1] = True
    # Whole rows go well or badly, as they do for trained models.
    own = np.clip(right + 0.4 * rng.normal(size=(n, 1)), 0, 1)
    good = rng.random((n, T)) < (own if 0 < right < 1 else right)
    answers = np.where(good, (3 * inputs + 1) % 20, (3 * inputs + 2) % 20)
    return inputs, np.where(asked, answers, -100)


def _model(inputs: np.ndarray) -> np.ndarray:
    logits = np.zeros((*inputs.shape, 20))
    np.put_along_axis(logits, ((3 * inputs + 1) % 20)[..., None], 1.0, -1)
    return logits


def _cases() -> list[Case]:
    return [
        Case(
            name=f"{n1} usual rows, {n2} harder ones, allowed = {allowed}",
            args=(
                _model,
                _rows(n1, n1, 8, before),
                _rows(n2 + 1, n2, 12, after),
                allowed,
            ),
        )
        for n1, n2, before, after, allowed in (
            (60, 40, 0.9, 0.2, 0.1),
            (400, 500, 0.9, 0.85, 0.2),
            (9, 7, 0.8, 0.6, 0.1),
            (30, 50, 0.7, 0.6, 0.1),
            (100, 120, 0.85, 0.85, 0.2),  # low < 0 < high < allowed
            (80, 90, 0.6, 0.9, 0.05),
            (120, 150, 0.9, 0.75, 0.1),  # 0 < low < allowed < drop
            (120, 150, 0.9, 0.75, 0.2),  # drop < allowed < high
        )
    ]


def _three_way(low: float, high: float, allowed: float) -> int:
    return int(low > allowed) - int(high < allowed)


class Parts(NamedTuple):
    """Ingredients of the answer, in which a mistake changes one.

    Each function takes the rows' counts of right and of asked queries.
    """

    mean: Callable[[np.ndarray, np.ndarray], float]
    square: Callable[[np.ndarray, np.ndarray], float]
    half: Callable[[float, float], float] = lambda a, b: 1.96 * np.sqrt(a + b)
    gap: Callable[[float, float], float] = lambda a, b: a - b
    verdict: Callable[[float, float, float], int] = _three_way


def _mean(right: np.ndarray, asked: np.ndarray) -> float:
    return (right / asked).mean()


def _square(right: np.ndarray, asked: np.ndarray) -> float:
    return (right / asked).var(ddof=1) / len(right)


def _built(parts: Parts) -> Callable[..., Verdict]:
    def answer(
        model: Model, usual: Rows, harder: Rows, allowed: float
    ) -> Verdict:
        means, squares = [], []
        for inputs, targets in (usual, harder):
            asked = targets != -100
            right = (model(inputs).argmax(-1) == targets) & asked
            counts = right.sum(1), asked.sum(1)
            means.append(parts.mean(*counts))
            squares.append(parts.square(*counts))
        gap, half = parts.gap(*means), parts.half(*squares)
        low, high = gap - half, gap + half
        return gap, low, high, parts.verdict(low, high, allowed)

    return answer


def _spread_of_queries(right: np.ndarray, asked: np.ndarray) -> float:
    return _queries(right, asked) * asked.sum() / (asked.sum() - 1)


def _queries(right: np.ndarray, asked: np.ndarray) -> float:
    share = right.sum() / asked.sum()
    return share * (1 - share) / asked.sum()


RIGHT = Parts(_mean, _square)

EXERCISE = Exercise(
    id="19.3",
    cases=_cases,
    solution=drop,
    mistakes=(
        Mistake(
            key="queries as units",
            diagnosis="Your interval treats queries as independent. Those of "
            "one row share its pairs and go well or badly together: take the "
            "rows' shares, and their variance.",
            wrong=_built(RIGHT._replace(square=_queries)),
        ),
        Mistake(
            key="all queries together",
            diagnosis="Your accuracies pool the queries of all rows. Take "
            "each row's own share, and the mean of these.",
            wrong=_built(RIGHT._replace(mean=lambda r, a: r.sum() / a.sum())),
            also=tuple(
                _built(
                    RIGHT._replace(
                        mean=lambda r, a: r.sum() / a.sum(), square=square
                    )
                )
                for square in (_queries, _spread_of_queries)
            ),
        ),
        Mistake(
            key="spread of a row",
            diagnosis="Your half-width does not shrink with more rows. The "
            "variance of a mean is s^2 / n.",
            wrong=_built(
                RIGHT._replace(square=lambda r, a: (r / a).var(ddof=1))
            ),
        ),
        Mistake(
            key="divides by n",
            diagnosis="Your variance divides by n. Around a mean taken from "
            "the same rows it must divide by n - 1: ddof=1.",
            wrong=_built(
                RIGHT._replace(square=lambda r, a: (r / a).var() / len(r))
            ),
        ),
        Mistake(
            key="errors added",
            diagnosis="You add two half-widths. The errors are independent: "
            "add their squares and take the root.",
            wrong=_built(
                RIGHT._replace(
                    half=lambda a, b: 1.96 * (np.sqrt(a) + np.sqrt(b))
                )
            ),
        ),
        Mistake(
            key="one standard error",
            diagnosis="Your interval is one standard error wide to each "
            "side, which covers 68 %. For 95 % take 1.96.",
            wrong=_built(RIGHT._replace(half=lambda a, b: np.sqrt(a + b))),
        ),
        Mistake(
            key="harder minus usual",
            diagnosis="Your drop is negative where the accuracy falls. Take "
            "usual minus harder.",
            wrong=_built(RIGHT._replace(gap=lambda a, b: b - a)),
        ),
        Mistake(
            key="the point decides",
            diagnosis="Your verdict looks at the drop alone. If the interval "
            "contains `allowed`, it cannot be told: 0.",
            wrong=_built(
                RIGHT._replace(
                    verdict=lambda low, high, allowed: (
                        1 if (low + high) / 2 > allowed else -1
                    )
                )
            ),
        ),
        Mistake(
            key="not shown is not there",
            diagnosis="You say that the model holds whenever failing is not "
            "shown. It holds if the whole interval lies below `allowed`.",
            wrong=_built(
                RIGHT._replace(
                    verdict=lambda low, high, allowed: (
                        1 if low > allowed else -1
                    )
                )
            ),
        ),
        Mistake(
            key="holding not shown",
            diagnosis="You say that the model fails whenever holding is not "
            "shown. It fails if the whole interval lies above `allowed`.",
            wrong=_built(
                RIGHT._replace(
                    verdict=lambda low, high, allowed: (
                        -1 if high < allowed else 1
                    )
                )
            ),
        ),
        Mistake(
            key="any drop, and a large one",
            diagnosis="You say that the model fails if the interval excludes "
            "0 and the drop is larger than `allowed`. The whole interval must "
            "lie above `allowed`.",
            wrong=_built(
                RIGHT._replace(
                    verdict=lambda low, high, allowed: (
                        1
                        if low > 0 and (low + high) / 2 > allowed
                        else -int(high < allowed)
                    )
                )
            ),
        ),
        Mistake(
            key="verdict reversed",
            diagnosis="Your verdict has its signs exchanged. 1 means that the "
            "model fails: the whole interval of the drop lies above "
            "`allowed`.",
            wrong=_built(
                RIGHT._replace(
                    verdict=lambda low, high, allowed: (
                        -_three_way(low, high, allowed)
                    )
                )
            ),
        ),
        Mistake(
            key="0 asked first",
            diagnosis="Where the interval contains 0 you say that it cannot "
            "be told. If all of it lies below `allowed`, the model holds, "
            "with 0 inside or not.",
            wrong=_built(
                RIGHT._replace(
                    verdict=lambda low, high, allowed: (
                        0
                        if low <= 0 <= high
                        else _three_way(low, high, allowed)
                    )
                )
            ),
        ),
        Mistake(
            key="compared with 0",
            diagnosis="You ask whether there is any drop, and with many rows "
            "there nearly always is. Compare the interval with `allowed`.",
            wrong=_built(
                RIGHT._replace(
                    verdict=lambda low, high, allowed: _three_way(low, high, 0)
                )
            ),
            also=(
                _built(
                    RIGHT._replace(
                        verdict=lambda low, high, allowed: (
                            1 if low > 0 else -1 if high < allowed else 0
                        )
                    )
                ),
            ),
        ),
        slip(
            "every position",
            "Positions where nothing is asked count in your shares. Their "
            "target is -100.",
            drop,
            ("targets != -100", "targets != 100"),
            ("targets != -100", "targets != -1"),
            ("targets != -100", "targets != 0"),
            ("targets != -100", "targets > -101"),
        ),
        slip(
            "where nothing is asked",
            "You look at the positions where nothing is asked: a target of "
            "-100 means no query.",
            drop,
            ("targets != -100", "targets == -100"),
        ),
        slip(
            "smallest logit",
            "You take the token with the smallest logit.",
            drop,
            ("argmax", "argmin"),
        ),
        slip(
            "counts",
            "You count right queries. A row's share is their number over "
            "that of its queries.",
            drop,
            ("right.sum(1) / asked.sum(1)", "right.sum(1)"),
        ),
        slip(
            "no difference",
            "Your drop is not the difference of the two accuracies.",
            drop,
            ("means[0] - means[1]", "means[0]"),
            ("means[0] - means[1]", "means[1]"),
            ("means[0] - means[1]", "means[0] + means[1]"),
        ),
        slip(
            "no root",
            "Your half-width is made from a variance. Take the root.",
            drop,
            ("np.sqrt(sum(errors))", "sum(errors)"),
        ),
        slip(
            "full width",
            "Your interval is twice as wide: 1.96 standard errors to each "
            "side.",
            drop,
            ("1.96 * np", "3.92 * np"),
        ),
        slip(
            "verdict one-sided",
            "Your verdict cannot be -1, 0 and 1: it fails, it holds, or "
            "cannot be told.",
            drop,
            ("- int(gap + half < allowed)", ""),
            (
                "int(gap - half > allowed) - int(gap + half < allowed)",
                "int(gap + half < allowed)",
            ),
            ("- int(gap + half < allowed)", "+ int(gap + half < allowed)"),
            ("int(gap - half > allowed) - int", "-int"),
        ),
        slip(
            "half of it by the point",
            "On one side your verdict looks at the drop alone. The whole "
            "interval must lie on that side.",
            drop,
            ("gap - half > allowed", "gap > allowed"),
            ("gap + half < allowed", "gap < allowed"),
        ),
        slip(
            "a half-width for an end",
            "One of the ends is the half-width. The ends are the drop minus "
            "and plus it.",
            drop,
            ("gap - half, gap + half, verdict", "half, gap + half, verdict"),
            ("gap - half, gap + half, verdict", "gap - half, half, verdict"),
            ("gap - half, gap + half, verdict", "-half, half, verdict"),
            (
                "gap - half, gap + half, verdict",
                "half - gap, gap + half, verdict",
            ),
        ),
        slip(
            "one end twice",
            "One of the ends is the drop itself, or both ends are the same.",
            drop,
            ("gap - half, gap + half, verdict", "gap, gap + half, verdict"),
            ("gap - half, gap + half, verdict", "gap - half, gap, verdict"),
            (
                "gap - half, gap + half, verdict",
                "gap + half, gap + half, verdict",
            ),
            (
                "gap - half, gap + half, verdict",
                "gap - half, gap - half, verdict",
            ),
        ),
        slip(
            "low and high exchanged",
            "The two ends of your interval are exchanged: the lower one "
            "comes first.",
            drop,
            (
                "gap - half, gap + half, verdict",
                "gap + half, gap - half, verdict",
            ),
        ),
    ),
    hints=(
        "Do the same with both sets of rows: a share for each row, then "
        "their mean and variance. Only then compare.",
        "asked = targets != -100; a row's share is its right queries over "
        "its asked ones. The two s^2 / n are added under the root.",
        "half = 1.96 * np.sqrt(sum of both s^2 / n); verdict = int(gap - "
        "half > allowed) - int(gap + half < allowed).",
    ),
)
