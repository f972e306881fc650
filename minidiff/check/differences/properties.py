"""Properties that all expected results have and the answer's have not."""

from collections.abc import Callable, Sequence

import numpy as np

from minidiff.check.differences.pair import Pair, close

# Says what a result lacks, given the right one too; None if nothing.
Property = Callable[[np.ndarray, np.ndarray], str | None]


def lost(
    properties: Sequence[Property],
    pairs: Sequence[Pair],
    wrong: Sequence[Pair],
) -> str | None:
    """Name the first property of all ``pairs`` that the ``wrong`` ones lack.

    A property has to hold for the expected results of every case, and of
    several numbers, so that it is no accident.
    """
    if sum(p.want.size for p in pairs) < 3:
        return None
    for describe in properties:
        if all(describe(p.want, p.want) is None for p in pairs):
            for pair in wrong:
                text = describe(pair.got, pair.want)
                if text:
                    other = "" if pair is wrong[0] else f" (with {pair.case})"
                    return text + other
    return None


def _row_sums(x: np.ndarray, want: np.ndarray) -> str | None:
    """Rows that add up to the same number, such as weights."""
    return _sums(x, want, -1, "row")


def _column_sums(x: np.ndarray, want: np.ndarray) -> str | None:
    return _sums(x, want, 0, "column")


def _sums(
    x: np.ndarray, want: np.ndarray, axis: int, which: str
) -> str | None:
    if want.ndim == 0:
        return None
    right = want.sum(axis)
    if want.ndim == 1 and not close(right, (0.0, 1.0), 1e-6).any():
        return "no"  # a single sum may be anything
    if want.ndim > 1 and right.size < 2:
        return None
    first = float(np.ravel(right)[0])
    scale = float(np.abs(want).sum(axis).max()) * 1e-6
    if np.abs(right - first).max() > scale:
        return "no"
    sums = x.sum(axis)
    away = np.abs(sums - first)
    if not away.max() > max(scale, 1e-6):
        return None
    shown = 0.0 if abs(first) < scale else first
    worst = float(np.ravel(sums)[np.argmax(away)])
    if x.ndim == 1:
        return (
            f"the right result adds up to {shown:.6g}, and yours to "
            f"{worst:.6g}"
        )
    return (
        f"each {which} of the right result adds up to {shown:.6g}; one of "
        f"yours adds up to {worst:.6g}"
    )


def _sign(x: np.ndarray, want: np.ndarray) -> str | None:
    bad = int((x < -1e-9).sum())
    return f"no right number is negative, but {bad} of yours" if bad else None


def _share(x: np.ndarray, want: np.ndarray) -> str | None:
    if (x < -1e-9).any() or (x > 1 + 1e-9).any():
        far = float(x.ravel()[np.argmax(np.abs(x - 0.5))])
        return (
            "every right number lies between 0 and 1; one of yours is "
            f"{far:.6g}"
        )
    return None


def _below(x: np.ndarray, want: np.ndarray) -> str | None:
    bad = int((x > 1e-9).sum())
    return f"no right number is positive, but {bad} of yours" if bad else None


def _whole(x: np.ndarray, want: np.ndarray) -> str | None:
    bad = x[~close(x, np.round(x), 1e-9)]
    if bad.size:
        return (
            f"every right number is a whole one; one of yours is {bad[0]:.6g}"
        )
    return None


def _zeros(x: np.ndarray, want: np.ndarray) -> str | None:
    """Zeros where 0 is expected, such as above a diagonal."""
    zero = want == 0
    bad, n = int((x[zero] != 0).sum()), int(zero.sum())
    if bad and n == 1:
        return "not 0 where the right result is 0"
    if bad:
        return f"not 0 in {bad} of the {n} places where the right result is 0"
    return None


def _symmetric(x: np.ndarray, want: np.ndarray) -> str | None:
    if x.ndim < 2 or x.shape[-1] != x.shape[-2]:
        return "no"
    if not close(x, x.swapaxes(-1, -2), 1e-6).all():
        return "the right result is symmetric, and yours is not"
    return None


# What the form of a result should be, and in what range its numbers lie.
FORM = _row_sums, _column_sums, _zeros, _symmetric, _whole
RANGE = _share, _sign, _below
