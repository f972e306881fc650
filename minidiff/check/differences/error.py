"""On which arguments it depends how wrong an answer is."""

from collections.abc import Iterator
from typing import Any

import numpy as np

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
from minidiff.check.differences.finding import Finding


def right_without(
    args: dict[str, Any], probe: Probe, first: Results, tolerance: float
) -> Iterator[Finding | None]:
    """Find an argument that, if it is 0 or 1, makes the answer right."""

    def needed(args: dict[str, Any], right: np.ndarray) -> set[str]:
        after = {
            n: probe({**args, n: changed(args[n])}) for n in changeable(args)
        }
        return {
            n for n, x in after.items() if x and not equal(x[1], right, 1e-12)
        }

    for name, x in args.items():
        for n in (0, 1) if is_real(x) or is_whole(x) else ():
            some = {**args, name: x * 0 + n}
            after = probe(some)
            if (
                after
                and np.isfinite(after[1]).all()
                and after[1].any()
                and equal(*after, tolerance)
            ):
                # With it, another argument may have lost its effect.
                lost = needed(args, first[1]) - needed(some, after[1])
                yield Finding(
                    f"it is right if {all_of(name, x)} is {n}",
                    telling=not lost - {name},
                )
            yield None


def error(
    args: dict[str, Any], probe: Probe, first: Results, tolerance: float
) -> Iterator[Finding | None]:
    """Say that what is wrong depends on some of the arguments alone."""
    errors = _errors(*first)
    on: tuple[list[str], list[str]] = ([], [])
    off: tuple[list[str], list[str]] = ([], [])
    for name in changeable(args):
        after = probe({**args, name: changed(args[name])})
        if (
            after is None
            or after[1].shape != first[1].shape
            or equal(after[1], first[1], tolerance)
        ):
            continue
        for n, (a, b) in enumerate(zip(_errors(*after), errors, strict=True)):
            same = np.isfinite(a).all() and equal(a, b, 10 * tolerance)
            (off if same else on)[n].append(name)
    for n, kind in enumerate(("difference", "factor")):
        if off[n]:
            where = f"depends on {' and '.join(on[n])}, not on" * bool(on[n])
            yield Finding(
                f"the {kind} between your numbers and the right ones "
                f"{where or 'does not depend on'} {' or '.join(off[n])}",
                telling=len(off[n]) >= min(len(on[n]), 2)
                and (on[n] != [] or (n == 1 and first[1].size == 1)),
            )


def _errors(got: np.ndarray, want: np.ndarray) -> Results:
    with np.errstate(all="ignore"):
        return got - want, got / want
