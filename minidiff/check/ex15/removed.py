"""Exercise 15.3: what the second map takes away."""

from collections.abc import Callable

import torch
from torch import Tensor

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.check.edited import slip

Shares = tuple[Tensor, Tensor]


def removed_and_negative(
    A1: Tensor, A2: Tensor, lam: float
) -> tuple[Tensor, Tensor]:
    """Return two shares for each head, (H,) and (H,).

    A1, A2 (H, T, T): the maps of one layer; their rows sum to 1. removed: of
    A1's weight, the share that lam A2 takes away. A place cannot lose more
    than A1 has there; where lam A2 is larger, the rest makes the difference
    negative. negative: of all weight in the difference, signs dropped, the
    share that is negative. Both are shares of a head's whole map: add up all
    its places first, then divide.
    """
    A = A1 - lam * A2
    taken = torch.minimum(A1, lam * A2)
    removed = taken.sum((1, 2)) / A1.sum((1, 2))
    negative = A.clamp(max=0).abs().sum((1, 2)) / A.abs().sum((1, 2))
    return removed, negative


def _cases() -> list[Case]:
    cases = []
    for H, T, lam in ((1, 1, 0.5), (1, 3, 0.5), (2, 5, 0.2), (3, 7, 0.8)):
        random = torch.Generator().manual_seed(10 * H + T)
        scores = 2 * torch.randn(
            2, H, T, T, generator=random, dtype=torch.float64
        )
        hidden = torch.ones(T, T, dtype=torch.bool).triu(1)
        A1, A2 = scores.masked_fill(hidden, -torch.inf).softmax(-1)
        name = f"H = {H}, T = {T}, lambda = {lam}"
        cases.append(Case(name=name, args=(A1, A2, lam)))
    return cases


def _of(
    taken: Callable[[Tensor, Tensor, float], Tensor],
) -> Callable[[Tensor, Tensor, float], Shares]:
    """Return an answer that counts something else as taken away."""

    def answer(A1: Tensor, A2: Tensor, lam: float) -> Shares:
        removed = taken(A1, A2, lam).sum((1, 2)) / A1.sum((1, 2))
        return removed, removed_and_negative(A1, A2, lam)[1]

    return answer


def _with_negative(
    negative: Callable[[Tensor], Tensor],
) -> Callable[[Tensor, Tensor, float], Shares]:
    """Return an answer whose second result is of the difference."""
    return lambda A1, A2, lam: (
        removed_and_negative(A1, A2, lam)[0],
        negative(A1 - lam * A2),
    )


def _below(A: Tensor) -> Tensor:
    return A.clamp(max=0).abs().sum((1, 2))


def _negative_of(
    negative: Callable[[Tensor, Tensor, float], Tensor],
) -> Callable[[Tensor, Tensor, float], Shares]:
    """Return an answer whose second result is made of both maps."""
    return lambda A1, A2, lam: (
        removed_and_negative(A1, A2, lam)[0],
        negative(A1, A2, lam),
    )


def _by_rows(A: Tensor) -> Tensor:
    return (A.clamp(max=0).abs().sum(2) / A.abs().sum(2)).mean(1)


def _mean_over_keys(A1: Tensor, A2: Tensor, lam: float) -> Shares:
    taken = torch.minimum(A1, lam * A2)
    return taken.mean((1, 2)), removed_and_negative(A1, A2, lam)[1]


def _over_visible(A1: Tensor, A2: Tensor, lam: float) -> Shares:
    removed, negative = removed_and_negative(A1, A2, lam)
    return removed * A1.sum((1, 2)) / (A1 > 0).sum((1, 2)), negative


def _both_mean(A1: Tensor, A2: Tensor, lam: float) -> Shares:
    A = A1 - lam * A2
    taken = torch.minimum(A1, lam * A2)
    return taken.mean((1, 2)), A.clamp(max=0).abs().mean((1, 2))


def _summed_only(A1: Tensor, A2: Tensor, lam: float) -> Shares:
    taken = torch.minimum(A1, lam * A2)
    return taken.sum((1, 2)), removed_and_negative(A1, A2, lam)[1]


EXERCISE = Exercise(
    id="15.3",
    cases=_cases,
    solution=removed_and_negative,
    results=("removed", "negative"),
    mistakes=(
        Mistake(
            key="all of lam A2",
            diagnosis="Your first share is lambda for every head. Much of "
            "lam A2 lies where A1 has less weight or none, and takes away "
            "only what is there: the smaller of A1 and lam A2.",
            wrong=_of(lambda A1, A2, lam: lam * A2),
        ),
        Mistake(
            key="lam dropped",
            diagnosis="You compare A1 with A2 itself. What is subtracted is "
            "lam A2.",
            wrong=lambda A1, A2, lam: removed_and_negative(A1, A2, 1.0),
            also=(
                _of(lambda A1, A2, lam: torch.minimum(A1, A2)),
                lambda A1, A2, lam: (
                    removed_and_negative(A1, A2, lam)[0],
                    removed_and_negative(A1, A2, 1.0)[1],
                ),
            ),
        ),
        Mistake(
            key="lam after the minimum",
            diagnosis="You take the smaller of A1 and A2, and then multiply "
            "by lambda. Compare A1 with lam A2.",
            wrong=_of(lambda A1, A2, lam: lam * torch.minimum(A1, A2)),
        ),
        Mistake(
            key="the rest",
            diagnosis="That is the share that is left. Asked is what is "
            "taken away.",
            wrong=_of(lambda A1, A2, lam: (A1 - lam * A2).clamp(min=0)),
        ),
        Mistake(
            key="only where it is all taken",
            diagnosis="You count A1 where lam A2 is larger. Where it is "
            "smaller, it takes away something too.",
            wrong=_of(lambda A1, A2, lam: A1 * (lam * A2 > A1)),
        ),
        Mistake(
            key="signs kept",
            diagnosis="You divide by the sum of the difference, in which "
            "signs cancel: it is 1 - lambda in each row. Drop the signs "
            "before you add up.",
            wrong=_with_negative(lambda A: _below(A) / A.sum((1, 2))),
        ),
        Mistake(
            key="below zero",
            diagnosis="Your share is negative. Drop the sign of the negative "
            "weight too.",
            wrong=_with_negative(lambda A: -_below(A) / A.abs().sum((1, 2))),
        ),
        Mistake(
            key="compared with the positive",
            diagnosis="You divide the negative weight by the positive. The "
            "whole is both together.",
            wrong=_with_negative(
                lambda A: _below(A) / A.clamp(min=0).sum((1, 2))
            ),
        ),
        Mistake(
            key="places counted",
            diagnosis="You count the places with a negative sign. Asked is "
            "how much weight is there.",
            wrong=_with_negative(lambda A: (A < 0).double().mean((1, 2))),
            also=(
                _with_negative(
                    lambda A: (A < 0).sum((1, 2)) / (A != 0).sum((1, 2))
                ),
            ),
        ),
        Mistake(
            key="row by row",
            diagnosis="Your second share is a mean of the rows' shares. A "
            "row with little weight then counts as much as one with much. "
            "Add up the whole map of a head first, then divide.",
            wrong=_with_negative(_by_rows),
        ),
        Mistake(
            key="of the maps",
            diagnosis="You divide the negative weight by that of A1, of "
            "lam A2 or of both. The share is of the difference: divide by "
            "the sum of |A1 - lam A2|.",
            wrong=_negative_of(
                lambda A1, A2, lam: _below(A1 - lam * A2) / A1.sum((1, 2))
            ),
            also=(
                _negative_of(
                    lambda A1, A2, lam: (
                        _below(A1 - lam * A2) / (lam * A2).sum((1, 2))
                    )
                ),
                _negative_of(
                    lambda A1, A2, lam: (
                        _below(A1 - lam * A2) / (A1 + lam * A2).sum((1, 2))
                    )
                ),
            ),
        ),
        Mistake(
            key="mean over places",
            diagnosis="You divide by a number of places. A share is weight "
            "divided by weight: removed by the sum of A1, negative by the "
            "sum of |A1 - lam A2|.",
            wrong=_mean_over_keys,
            also=(_both_mean, _over_visible),
        ),
        Mistake(
            key="not divided",
            diagnosis="Your first number is the weight that is taken away. "
            "The share is that divided by the weight of A1.",
            wrong=_summed_only,
        ),
        Mistake(
            key="results swapped",
            diagnosis="The two results have changed places: first what is "
            "removed, then what is negative.",
            wrong=lambda *args: removed_and_negative(*args)[::-1],
        ),
        Mistake(
            key="heads together",
            diagnosis="You return one number for all heads. Add up over "
            "queries and keys, axes 1 and 2, and keep axis 0.",
            wrong=lambda A1, A2, lam: (
                torch.minimum(A1, lam * A2).sum() / A1.sum(),
                _below(A1 - lam * A2).sum() / (A1 - lam * A2).abs().sum(),
            ),
        ),
        slip(
            "another difference",
            "Your difference is not A1 - lam A2.",
            removed_and_negative,
            ("A = A1 - lam * A2", "A = A1 + lam * A2"),
            ("A = A1 - lam * A2", "A = lam * A2 - A1"),
            ("A = A1 - lam * A2", "A = A1"),
            ("A = A1 - lam * A2", "A = A1 - lam"),
        ),
        slip(
            "the larger of the two",
            "You take the larger of A1 and lam A2. A place cannot lose more "
            "than it has.",
            removed_and_negative,
            ("torch.minimum", "torch.maximum"),
        ),
        slip(
            "negative weight not divided",
            "Your second number is a weight. The share is that divided by "
            "all of the difference's weight, signs dropped.",
            removed_and_negative,
            (".abs().sum((1, 2)) / A.abs().sum((1, 2))", ".abs().sum((1, 2))"),
        ),
    ),
    hints=(
        "Take one place with A1 = 0.3. What does lam A2 = 0.1 take away "
        "there? And 0.5?",
        "torch.minimum(A1, lam * A2) is what is taken away. For the second "
        "share add up the negative part of A = A1 - lam * A2 and all of "
        "A.abs().",
        "removed = minimum.sum((1, 2)) / A1.sum((1, 2)); negative = "
        "A.clamp(max=0).abs().sum((1, 2)) / A.abs().sum((1, 2)).",
    ),
)
