"""Where in a result the wrong numbers are."""

from collections.abc import Iterator, Sequence

import numpy as np

from minidiff.check.differences.pair import Pair, axis_words

_VAGUE = "after the first"


def place(pairs: Sequence[Pair]) -> str | None:
    """Say where the wrong numbers are; None if they are everywhere.

    What is said holds in all pairs, or the text says that it is about the
    first of them.
    """
    found = [list(_places(p)) for p in pairs]
    common = [x for x in found[0] if all(x in others for others in found)]
    clear = [x for x in common if not is_vague(x)]
    for text in (*clear, *_diagonal(pairs), *common):
        return text
    return f"in this case, {found[0][0]}" if found[0] else None


def is_vague(text: str) -> bool:
    """Tell whether a place is all but a first row, which often is given."""
    return text.endswith(_VAGUE)


def _places(pair: Pair) -> Iterator[str]:
    wrong, want = pair.wrong, pair.want
    if wrong.all() or not wrong.any():
        return
    if not want[wrong].any() and want[~wrong].any():
        yield "wrong only where 0 is expected"
    if wrong.ndim == 2:
        yield from _beginning(wrong)
    for axis in range(wrong.ndim):
        words = axis_words(wrong.ndim, axis)
        for name in indices(_along(wrong, axis), *words):
            yield f"wrong only in {name}"
    if want[wrong].all() and not want[~wrong].any():
        yield "the zeros are right, and every other number is wrong"


def _along(wrong: np.ndarray, axis: int) -> np.ndarray:
    others = tuple(a for a in range(wrong.ndim) if a != axis)
    return np.asarray(wrong.any(others))


def _beginning(wrong: np.ndarray) -> Iterator[str]:
    """The first wrong row, after right ones, if it is wrong in part."""
    n = int(wrong.any(1).argmax())
    for name in indices(wrong[n], *axis_words(2, 1)) if n else ():
        yield f"right up to row {n - 1}; row {n} is wrong only in {name}"


def _diagonal(pairs: Sequence[Pair]) -> Iterator[str]:
    """The side of the diagonal on which all wrong numbers lie."""
    sizes = [p.wrong.shape[-2:] for p in pairs]
    if min(map(len, sizes)) < 2 or max(map(min, sizes)) < 3:
        return
    away = [np.arange(S) - np.arange(T)[:, None] for T, S in sizes]
    for name, region in (
        ("on the diagonal", [d == 0 for d in away]),
        ("above the diagonal", [d > 0 for d in away]),
        ("below the diagonal", [d < 0 for d in away]),
        ("on and above the diagonal", [d >= 0 for d in away]),
        ("on and below the diagonal", [d <= 0 for d in away]),
    ):
        if not any(
            x.all() or (p.wrong & ~x).any()
            for p, x in zip(pairs, region, strict=True)
        ):
            yield f"wrong only {name}"


def indices(chosen: np.ndarray, one: str, several: str) -> Iterator[str]:
    """Yield short names of the chosen indices along an axis.

    All of them, or none, have no name.
    """
    n, found = len(chosen), [int(i) for i in np.flatnonzero(chosen)]
    if not 0 < len(found) < n:
        return
    left = [i for i in range(n) if i not in found]
    named = {
        f"the first {one}": [0],
        f"the last {one}": [n - 1],
        f"the {several} {_VAGUE}": list(range(1, n)),
        f"the {several} before the last": list(range(n - 1)),
        f"the even {several} (counted from 0)": list(range(0, n, 2)),
        f"the odd {several} (counted from 0)": list(range(1, n, 2)),
        f"the first half of the {several}": list(range(n // 2)),
        f"the second half of the {several}": list(range(n // 2, n)),
    }
    names = [name for name, some in named.items() if found == some]
    yield from names
    if names:
        return
    if len(found) == 1:
        yield f"{one} {found[0]} of {n}"
    elif found == list(range(found[0], found[-1] + 1)):
        yield f"{several} {found[0]} to {found[-1]} of {n}"
    elif len(found) <= 4:
        yield f"{several} {', '.join(map(str, found))} of {n}"
    elif len(left) <= 3:
        yield f"all {several} but {', '.join(map(str, left))}"
