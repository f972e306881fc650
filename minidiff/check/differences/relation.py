"""Results that are a simple function of the expected ones."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minidiff.check.differences.pair import Pair, close, distinct
from minidiff.check.differences.sizes import size

_MAPS: tuple[tuple[str, Callable[[Any], Any]], ...] = (
    ("one divided by the expected number", lambda x: 1 / x),
    ("one minus the expected number", lambda x: 1 - x),
    ("the square of the expected number", np.square),
    ("the root of the expected number", np.sqrt),
    ("exp of the expected number", np.exp),
    ("the logarithm of the expected number", np.log),
    ("the logarithm to base 2 of the expected number", np.log2),
    ("the expected number rounded down", np.floor),
    ("the expected number rounded up", np.ceil),
    ("the expected number rounded to a whole one", np.round),
    ("the expected number without its sign", np.abs),
    ("the expected number with its decimals cut off", np.trunc),
    ("the remainder of the expected number", lambda x: x % 1),
    ("the expected number in float32", lambda x: x.astype(np.float32)),
    ("the expected number in float16", lambda x: x.astype(np.float16)),
)


def relation(pairs: Sequence[Pair]) -> str | None:
    """Say how every result follows from the expected one, in all pairs."""
    for describe in (_flat, _factor, _mapped, _by_case, _by_row):
        if text := describe(pairs):
            return text
    return None


def _flat(pairs: Sequence[Pair]) -> str | None:
    """All numbers equal, or all rows, where they should not be."""
    got, want = _pooled(pairs)
    if len(got) > 1 and distinct(want) > 1 and np.ptp(got) == 0:
        return f"every number is {got[0]:.6g}"
    several = [p for p in pairs if p.got.ndim > 1 and len(p.got) > 1]
    for which, axis in (("rows", -2), ("columns", -1)):
        if len(several) > 0 and all(
            _same_along(p.got, axis) and not _same_along(p.want, axis)
            for p in several
        ):
            return f"all {which} are equal to each other"
    return None


def _same_along(x: np.ndarray, axis: int) -> bool:
    first = np.take(x, [0], axis)
    return x.shape[axis] > 1 and bool(close(x, first, 1e-9).all())


def _factor(pairs: Sequence[Pair]) -> str | None:
    got, want = _pooled(pairs)
    if distinct(want) < 2 or not np.isfinite(got).all():
        return None
    tolerance = pairs[0].tolerance
    factor = _ratio(got, want)
    if close(got, factor * want, tolerance).all():
        if close(factor, -1, tolerance):
            return "every number has the wrong sign"
        return f"every number is the expected one times {factor:.6g}"
    offset = float(np.mean(got - want))
    if close(got, want + offset, tolerance).all():
        how = "large" if offset > 0 else "small"
        return f"every number is too {how} by {abs(offset):.6g}"
    return None


def _mapped(pairs: Sequence[Pair]) -> str | None:
    got, want = _pooled(pairs)
    if distinct(want) < 3:
        return None
    with np.errstate(all="ignore"):
        for text, function in _MAPS:
            if close(got, function(want), pairs[0].tolerance).all():
                return f"every number is {text}"
    return None


def _by_case(pairs: Sequence[Pair]) -> str | None:
    """A factor, or a difference, that depends on the case."""
    ratios = [_ratio(p.got, p.want) for p in pairs]
    with np.errstate(all="ignore"):
        shifts = [float(np.mean(p.got - p.want)) for p in pairs]
        times = [r * p.want for r, p in zip(ratios, pairs, strict=True)]
    plus = [s + p.want for s, p in zip(shifts, pairs, strict=True)]
    several = all(distinct(p.want) > 1 for p in pairs)
    if _constant(pairs, times):
        if known := size(pairs, ratios):
            return f"every number is the expected one times {known}"
        if several:
            return (
                "within each case, every number is the expected one times "
                f"the same factor: {_list(ratios)}"
            )
    if _constant(pairs, plus):
        if known := size(pairs, shifts):
            if known.startswith("-"):
                return f"every number is too small by {known[1:]}"
            return f"every number is too large by {known}"
        if several:
            return (
                "within each case, every number is the expected one plus the "
                f"same number: {_list(shifts)}"
            )
    return None


def _constant(pairs: Sequence[Pair], made: Sequence[np.ndarray]) -> bool:
    return all(p.is_like(x) for p, x in zip(pairs, made, strict=True))


def _by_row(pairs: Sequence[Pair]) -> str | None:
    """A factor, or a difference, for each row or each column."""
    pairs = [p for p in pairs if p.want.ndim > 1 and min(p.want.shape) > 1]
    if not pairs:
        return None
    for which, other, axis in (("row", "column", -1), ("column", "row", 0)):
        if sum(_more_than_groups(p, axis) for p in pairs) < 4:
            continue  # a factor for each number or two explains nothing
        with np.errstate(all="ignore"):
            made = [_times(p, axis) for p in pairs]
        shifted = [
            p.want + (p.got - p.want).mean(_all_but(p, axis), keepdims=True)
            for p in pairs
        ]
        if _constant(pairs, [np.nan_to_num(x) for x in made]):
            return f"each {which} is the expected one times its own factor"
        if _constant(pairs, shifted):
            return (
                f"each {which} is off by a number of its own, which is the "
                f"same in every {other}"
            )
    return None


def _more_than_groups(pair: Pair, axis: int) -> int:
    """Return how many more wrong numbers there are than wrong rows."""
    groups = pair.wrong.any(_all_but(pair, axis))
    return int(pair.wrong.sum() - groups.sum())


def _times(pair: Pair, axis: int) -> np.ndarray:
    """Return the expected rows, or columns, each times its best factor."""
    every = _all_but(pair, axis)
    inner = (pair.got * pair.want).sum(every, keepdims=True)
    return pair.want * inner / (pair.want**2).sum(every, keepdims=True)


def _all_but(pair: Pair, axis: int) -> tuple[int, ...]:
    """Return the axes along which a row, or a column, has its numbers."""
    return (-1,) if axis == -1 else tuple(range(pair.want.ndim - 1))


def _ratio(got: np.ndarray, want: np.ndarray) -> float:
    """Return the factor of the largest expected number."""
    if not want.size:
        return 0.0
    i = np.argmax(np.abs(want))
    with np.errstate(all="ignore"):
        return float(got.ravel()[i] / want.ravel()[i])


def _pooled(pairs: Sequence[Pair]) -> tuple[np.ndarray, np.ndarray]:
    return (
        np.concatenate([p.got.ravel() for p in pairs]),
        np.concatenate([p.want.ravel() for p in pairs]),
    )


def _list(numbers: Sequence[float]) -> str:
    shown = ", ".join(f"{n:.4g}" for n in numbers[:3])
    return shown + (", ..." if len(numbers) > 3 else "")
