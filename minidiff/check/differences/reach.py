"""Which part of the results a part of an argument reaches."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from minidiff.check.differences.change import (
    Probe,
    Results,
    changed,
    real_ones,
)
from minidiff.check.differences.finding import Finding
from minidiff.check.differences.pair import axis_words, close
from minidiff.check.differences.place import indices


def reached(
    args: dict[str, Any], probe: Probe, first: Results, tolerance: float
) -> Iterator[Finding | None]:
    """Find a part of an argument that reaches other parts of the result."""
    for name in real_ones(args):
        shape = np.shape(args[name])
        for axis, n in enumerate(shape):
            for i, which in ((n - 1, "last"), (0, "first")):
                other = changed(args[name], axis, i)
                after = probe({**args, name: other}) if n > 1 else None
                if after is None or any(
                    a.shape != b.shape
                    for a, b in zip(after, first, strict=True)
                ):
                    continue
                came, expected = (
                    ~close(a, b, tolerance)
                    for a, b in zip(after, first, strict=True)
                )
                one, _ = axis_words(len(shape), axis)
                if text := _reach(came, expected):
                    yield Finding(
                        f"if only the {which} {one} of {name} changes, {text}"
                    )
                yield None


def _reach(came: np.ndarray, expected: np.ndarray) -> str | None:
    """Say along which axis the results changed all, at one index, or not."""
    if expected.any() != came.any():
        which = ("yours", "the right result")
        first, second = which if came.any() else which[::-1]
        return f"{first} changes and {second} does not"
    for axis in range(expected.ndim):
        others = tuple(a for a in range(expected.ndim) if a != axis)
        words = axis_words(expected.ndim, axis)
        a, b = (
            _along(np.asarray(x.any(others)), *words) for x in (came, expected)
        )
        if a and b and a != b:
            return f"the right result changes in {b}, and yours in {a}"
    return None


def _along(changed: np.ndarray, one: str, several: str) -> str | None:
    """Name the indices if they are all or one."""
    if changed.all() and len(changed) > 1:
        return f"every {one}"
    if changed.sum() == 1:
        return next(indices(changed, one, several), None)
    return None
