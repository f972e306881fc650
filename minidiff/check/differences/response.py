"""How results respond when one argument changes."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from minidiff.check.compare import as_array
from minidiff.check.differences.change import (
    Probe,
    Results,
    all_of,
    changeable,
    changed,
    equal,
    is_real,
    is_whole,
)
from minidiff.check.differences.error import error, right_without
from minidiff.check.differences.finding import Finding
from minidiff.check.differences.pair import Pair
from minidiff.check.differences.reach import reached

SECONDS = 4.0  # no further change is tried after so long
_CHANGES: tuple[tuple[str, Callable[[Any], Any]], ...] = (
    ("{} is doubled", lambda x: x * 2),
    ("{} changes its sign", lambda x: -x),
    ("1 is added to {}", lambda x: x + 1),
)
_EFFECTS: tuple[tuple[str, Callable[[Any], Any]], ...] = (
    ("stays as it is", lambda x: x),
    ("changes its sign", lambda x: -x),
    ("doubles", lambda x: 2 * x),
    ("becomes 4 times as large", lambda x: 4 * x),
    ("becomes 8 times as large", lambda x: 8 * x),
    ("becomes half as large", lambda x: x / 2),
    ("becomes a quarter", lambda x: x / 4),
    ("becomes larger by 1", lambda x: x + 1),
    ("becomes smaller by 1", lambda x: x - 1),
    ("becomes larger by log(2)", lambda x: x + np.log(2)),
    ("becomes smaller by log(2)", lambda x: x - np.log(2)),
    ("becomes larger by a factor of root 2", lambda x: x * np.sqrt(2)),
    ("becomes smaller by a factor of root 2", lambda x: x / np.sqrt(2)),
)


Tries = Callable[
    [dict[str, Any], Probe, Results, float], Iterator[Finding | None]
]


def response(wrong: Sequence[Pair], probe: Probe) -> Finding | None:
    """Name a change of an argument to which the answer responds wrongly.

    It is tried on the first of the wrong cases. If it does not hold in the
    others, the text says which case it is about.
    """
    end = time.monotonic() + SECONDS
    case, tolerance = wrong[0], wrong[0].tolerance
    first, again = probe(case.args), probe(case.args)
    if first is None or again is None:
        return None
    if not equal(first[0], again[0], 0.0):
        return None  # random numbers: nothing follows from a change
    best = None
    for tries in (_ignored, _scaled, reached, right_without, error):
        for found in tries(case.args, probe, first, tolerance):
            if found and not best:
                best = found, tries
            if found and found.telling:
                return _with_case(found, tries, wrong, probe, end)
            if time.monotonic() > end:
                break
    return _with_case(*best, wrong, probe, end) if best else None


def _with_case(
    found: Finding,
    tries: Tries,
    wrong: Sequence[Pair],
    probe: Probe,
    end: float,
) -> Finding:
    """Return a finding, with the case unless it is found in all of them."""
    for pair in wrong[1:]:
        first = probe(pair.args)
        others = (
            tries(pair.args, probe, first, pair.tolerance) if first else ()
        )
        if not any(
            other and other.text == found.text
            for other in others
            if time.monotonic() < end
        ):
            return replace(found, text=f"{found.text} (with {wrong[0].case})")
    return found


def _ignored(
    args: dict[str, Any], probe: Probe, first: Results, tolerance: float
) -> Iterator[Finding | None]:
    """Find an argument that only the right result depends on."""
    for name in changeable(args):
        after = probe({**args, name: changed(args[name])})
        if (
            after
            and equal(after[0], first[0], 1e-12)
            and not equal(after[1], first[1], tolerance)
        ):
            yield Finding(f"the result does not depend on {name}")
        yield None


def _scaled(
    args: dict[str, Any], probe: Probe, first: Results, tolerance: float
) -> Iterator[Finding | None]:
    """Find an argument whose doubling, say, should double the result."""
    for name, x in args.items():
        # 1 more may be no allowed size, as with two lengths that depend.
        changes = _CHANGES if is_real(x) else _CHANGES[: is_whole(x)]
        for change, function in changes:
            after = probe({**args, name: function(x)})
            if after is None:
                continue
            came, expected = (
                _effect(a, b, args, tolerance)
                for a, b in zip(after, first, strict=True)
            )
            if expected and came != expected:
                what = change.format(all_of(name, x))
                yours = f"yours {came}" if came else "yours does not"
                yield Finding(
                    f"if {what}, the right result {expected}; {yours}"
                )
            yield None


def _effect(
    after: np.ndarray,
    before: np.ndarray,
    args: dict[str, Any],
    tolerance: float,
) -> str | None:
    if not np.isfinite(before).all():
        return None
    for text, function in _EFFECTS:
        if equal(after, function(before), tolerance):
            return text
    for name, x in args.items():
        if is_real(x) and np.shape(x) == before.shape:
            n = as_array(x)
            if equal(after, before + n, tolerance):
                return f"becomes larger by {name}"
            if equal(after, before - n, tolerance):
                return f"becomes smaller by {name}"
    return None
