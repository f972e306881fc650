"""Exercise 21.2: accuracy of a guess among the labels said before."""

from collections.abc import Callable

import numpy as np

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.check.edited import slip


def guess_by_shots(classes: np.ndarray, shots: int) -> np.ndarray:
    """Return the accuracy of guessing among labels said before, (shots + 1,).

    classes (B, I): the class of each item of each row. At an item the guess
    is one of the different labels of the items before it in the row, each
    equally likely; at the first item it is wrong. Entry n of the result is
    the mean over all items that have n earlier items of their own class;
    the last entry takes those with ``shots`` or more.
    """
    found: list[list[float]] = [[] for _ in range(shots + 1)]
    for row in classes:
        for i, own in enumerate(row):
            before = row[:i]
            n = min(int((before == own).sum()), shots)
            found[n].append(1 / len(set(before)) if n else 0.0)
    return np.array([np.mean(f) for f in found])


def _cases() -> list[Case]:
    cases = []
    for B, C, count, shots in ((1, 2, 6, 1), (3, 3, 9, 2), (20, 8, 30, 3)):
        # Classes at random, so that rows differ in how often each comes.
        classes = np.random.default_rng(B).integers(0, C, (B, count))
        name = f"{B} rows of {count} items, {C} classes, {shots} shots"
        cases.append(Case(name=name, args=(classes, shots)))
    return cases


Guess = Callable[[np.ndarray, int], np.ndarray]
Chance = Callable[[np.ndarray, int, np.ndarray], float]


def _among_said(before: np.ndarray, own: int, row: np.ndarray) -> float:
    return 1 / len(set(before)) if own in before else 0.0


def _guess(
    chance: Chance = _among_said,
    group: Callable[[int, int], int] = min,
    own: int = 0,
) -> Guess:
    """Average ``chance`` over groups of items.

    group: takes the count and shots; a group out of range is left out.
    own: 1 counts the item itself among the earlier ones of its class.
    """

    def answer(classes: np.ndarray, shots: int) -> np.ndarray:
        found: list[list[float]] = [[] for _ in range(shots + 1)]
        for row in classes:
            for i, c in enumerate(row):
                n = group(int((row[:i] == c).sum()) + own, shots)
                if n <= shots:
                    found[n].append(chance(row[:i], c, row))
        return np.array([np.mean(f) if f else np.nan for f in found])

    return answer


def _by_row(classes: np.ndarray, shots: int) -> np.ndarray:
    rows = [_guess()(row[None], shots) for row in classes]
    return np.nanmean(rows, axis=0)


def _with_itself(before: np.ndarray, own: int, row: np.ndarray) -> float:
    return 1 / len({*before, own})


EXERCISE = Exercise(
    id="21.2",
    cases=_cases,
    solution=guess_by_shots,
    mistakes=(
        Mistake(
            key="all labels of the row",
            diagnosis="You guess among all labels of the row. At an item only "
            "the labels of the items before it are known.",
            wrong=_guess(lambda before, own, row: 1 / len(set(row))),
            also=(
                _guess(
                    lambda before, own, row: (
                        1 / len(set(row)) if own in before else 0.0
                    )
                ),
            ),
        ),
        Mistake(
            key="own label counted as said",
            diagnosis="You count the item's own label among those said. It "
            "comes after the guess: an item whose class is new is never "
            "guessed right.",
            wrong=_guess(_with_itself),
        ),
        Mistake(
            key="never wrong at a new class",
            diagnosis="Where the class is new, its label has not been said, "
            "and the guess is wrong: 0, not one over the number of labels.",
            wrong=_guess(
                lambda before, own, row: 1 / max(1, len(set(before)))
            ),
            also=(
                _guess(
                    lambda before, own, row: (
                        1 / len(set(before)) if len(before) else 0.0
                    )
                ),
            ),
        ),
        Mistake(
            key="one of the earlier items",
            diagnosis="You choose an earlier item and say its label, so that "
            "labels said more often are likelier. Choose among the different "
            "labels: a set.",
            wrong=_guess(
                lambda before, own, row: (
                    float((before == own).mean()) if len(before) else 0.0
                )
            ),
            also=(
                _guess(
                    lambda before, own, row: (
                        1 / len(before) if own in before else 0.0
                    )
                ),
            ),
        ),
        Mistake(
            key="item counts itself",
            diagnosis="You count the item itself among the earlier ones of "
            "its class, so every result is one place too far.",
            wrong=_guess(own=1),
        ),
        Mistake(
            key="last group exact",
            diagnosis="The last entry takes all items with `shots` or more "
            "earlier ones of their class, not only those with exactly so "
            "many.",
            wrong=_guess(group=lambda n, shots: n),
        ),
        Mistake(
            key="mean of rows",
            diagnosis="You average within each row and then over the rows, "
            "but rows have different numbers of items in a group. Take the "
            "mean over all items of a group.",
            wrong=_by_row,
        ),
        slip(
            "another chance",
            "Where the class is known, your guess is right with another "
            "probability. Each different label said before is equally "
            "likely.",
            guess_by_shots,
            ("1 / len(set(before)) if", "1 if"),
            ("1 / len(set(before)) if", "len(set(before)) if"),
            ("1 / len(set(before)) if", "2 / len(set(before)) if"),
            ("1 / len(", "1 // len("),
        ),
        slip(
            "right at a new class",
            "You call the guess right where the class is new. Its label has "
            "not been said, so that the guess is wrong.",
            guess_by_shots,
            ("else 0.0", "else 1.0"),
        ),
        slip(
            "sums",
            "These are sums. An accuracy is a mean over the items of a group.",
            guess_by_shots,
            ("np.mean(f)", "np.sum(f)"),
        ),
    ),
    hints=(
        "Go through a row from left to right. What is known before item i?",
        "`before = row[:i]`; n is (before == row[i]).sum(), at most shots. "
        "If n is 0, the guess is wrong.",
        "Otherwise it is right with 1 / len(set(before)). Collect these by "
        "n in shots + 1 lists, and return the mean of each.",
    ),
)
