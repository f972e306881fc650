"""Exercise 20.4: the effective length, defined in two ways."""

from collections.abc import Callable

import numpy as np

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.check.edited import slip


def effective_length(
    lengths: np.ndarray, accuracy: np.ndarray, share: float = 0.85
) -> tuple[int, int]:
    """Return the effective length by two definitions.

    lengths (n,), in any order, and accuracy (n,) at each of them. A length
    is kept if its accuracy is at least share times that of the shortest
    length. The first number is the longest kept length. The second is the
    longest up to which every length is kept.
    """
    order = np.argsort(lengths)
    lengths, accuracy = lengths[order], accuracy[order]
    kept = accuracy >= share * accuracy[0]
    unbroken = np.logical_and.accumulate(kept)
    return int(lengths[kept].max()), int(lengths[unbroken].max())


def _cases() -> list[Case]:
    return [
        Case(
            name=f"accuracy {accuracy} at {lengths}, share {share}",
            args=(np.array(lengths), np.array(accuracy), share),
        )
        for lengths, accuracy, share in (
            ([8, 16, 32, 64], [1.0, 0.9, 0.5, 0.4], 0.8),
            ([8, 16, 32, 64], [1.0, 0.7, 0.9, 0.2], 0.8),
            ([8, 16, 32, 64], [1.0, 0.75, 0.6, 0.5], 0.75),
            ([64, 8, 32, 16], [0.1, 0.8, 0.625, 0.5], 0.75),
            ([4, 8, 16], [0.25, 0.25, 0.25], 0.9),
            ([4, 8, 16, 32], [0.5, 1.0, 0.75, 0.4375], 0.75),
            ([1, 2, 4, 8, 16], [1.0, 0.9, 0.8, 0.71, 0.63], 0.85),
            ([16, 64, 256], [0.6, 0.55, 0.1], 0.85),
            ([2, 4, 8, 16], [1.0, 0.9, 0.8, 0.5], 0.75),
        )
    ]


Lengths = tuple[int, int]


def _kept(
    keep: Callable[[np.ndarray, float], np.ndarray],
) -> Callable[[np.ndarray, np.ndarray, float], Lengths]:
    """Decide in another way which of the lengths, in order, are kept."""

    def answer(
        lengths: np.ndarray, accuracy: np.ndarray, share: float
    ) -> Lengths:
        order = np.argsort(lengths)
        lengths, kept = lengths[order], keep(accuracy[order], share)
        unbroken = np.logical_and.accumulate(kept)
        return (
            int(lengths[kept].max(initial=0)),
            int(lengths[unbroken].max(initial=0)),
        )

    return answer


def _first(a: np.ndarray, b: np.ndarray, share: float) -> Lengths:
    """Take the first given length for the shortest."""
    kept = b >= share * b[0]
    unbroken = np.logical_and.accumulate(kept)
    return int(a[kept].max()), int(a[unbroken].max())


def _broken(lengths: np.ndarray, accuracy: np.ndarray, s: float) -> Lengths:
    longest, unbroken = effective_length(lengths, accuracy, s)
    later = lengths[lengths > unbroken]
    return longest, int(later.min()) if len(later) else unbroken


EXERCISE = Exercise(
    id="20.4",
    cases=_cases,
    solution=effective_length,
    results=("longest kept", "unbroken"),
    mistakes=(
        Mistake(
            key="threshold not relative",
            diagnosis="You compare with share itself. The threshold is share "
            "times the accuracy at the shortest length.",
            wrong=_kept(lambda a, s: a >= s),
        ),
        Mistake(
            key="best length as base",
            diagnosis="Your base is the best accuracy of all. It is that of "
            "the shortest length.",
            wrong=_kept(lambda a, s: a >= s * a.max()),
        ),
        Mistake(
            key="mean as base",
            diagnosis="Your base is the mean accuracy, which long rows "
            "lower. It is that of the shortest length.",
            wrong=_kept(lambda a, s: a >= s * a.mean()),
        ),
        Mistake(
            key="given order",
            diagnosis="You take the first length that is given for the "
            "shortest. Sort by length first.",
            wrong=_first,
        ),
        Mistake(
            key="more than the threshold",
            diagnosis="A length with exactly share times the base is kept: "
            ">=, not >.",
            wrong=_kept(lambda a, s: a > s * a[0]),
        ),
        Mistake(
            key="compared with the length before",
            diagnosis="You compare each length with the one before, so that "
            "a slow decline is never noticed. Compare with the shortest.",
            wrong=_kept(lambda a, s: a >= s * np.r_[a[:1], a[:-1]]),
        ),
        Mistake(
            key="share of the drop",
            diagnosis="You allow a drop by share. What must be left is "
            "share; the drop may be 1 - share.",
            wrong=_kept(lambda a, s: a >= (1 - s) * a[0]),
        ),
        Mistake(
            key="exchanged",
            diagnosis="Your two numbers are exchanged: the longest kept "
            "length comes first.",
            wrong=lambda *x: effective_length(*x)[::-1],
        ),
        Mistake(
            key="longest twice",
            diagnosis="Your second number jumps over lengths that are not "
            "kept. It ends before the first of them.",
            wrong=lambda *x: (effective_length(*x)[0],) * 2,
        ),
        Mistake(
            key="unbroken twice",
            diagnosis="Your first number stops at the first length that is "
            "not kept. It is the longest of all that are kept.",
            wrong=lambda *x: (effective_length(*x)[1],) * 2,
        ),
        Mistake(
            key="first that fails",
            diagnosis="Your second number is the first length that is not "
            "kept. It is the last one before that.",
            wrong=_broken,
        ),
        slip(
            "another length as base",
            "Your base is the accuracy at another length. It is that of the "
            "shortest.",
            effective_length,
            ("share * accuracy[0]", "share * accuracy[1]"),
            ("share * accuracy[0]", "share * accuracy[-1]"),
        ),
        slip(
            "share not used",
            "You ask for the full accuracy of the shortest length. A share "
            "of it is enough.",
            effective_length,
            ("share * accuracy[0]", "accuracy[0]"),
        ),
        slip(
            "shortest kept",
            "One of your numbers is the shortest length that is kept. Both "
            "are longest ones.",
            effective_length,
            ("lengths[kept].max()", "lengths[kept].min()"),
            ("lengths[unbroken].max()", "lengths[unbroken].min()"),
            (".max()", ".min()"),
        ),
    ),
    hints=(
        "Sort by length; then the base is the first accuracy.",
        "kept = accuracy >= share * accuracy[0]. The first number is the "
        "largest of lengths[kept].",
        "np.logical_and.accumulate(kept) is True until the first length that "
        "is not kept. Return two ints.",
    ),
)
