"""Results that hold the expected numbers, but in another order."""

from collections.abc import Iterator, Sequence

import numpy as np

from minidiff.check.differences.pair import (
    Pair,
    axis_words,
    close,
    distinct,
)


def order(pairs: Sequence[Pair]) -> str | None:
    """Name the order of the numbers, if it is the same kind in all pairs."""
    if any(distinct(p.want) < 3 for p in pairs):
        return None
    fitting = [[text for text, fits in _kinds(p) if fits] for p in pairs]
    for text in fitting[0]:
        if all(text in others for others in fitting):
            return text
    return None


def _kinds(pair: Pair) -> Iterator[tuple[str, bool]]:
    """Yield each order and whether the numbers came in it."""
    want, ndim = pair.want, pair.want.ndim
    if ndim > 1:
        turned = want.swapaxes(-1, -2)
        yield "the result is transposed", pair.is_like(turned)
        yield (
            "these are the numbers of the transposed result, read row by "
            "row into the expected shape",
            pair.is_like(turned.reshape(want.shape)),
        )
    for axis in range(ndim):
        _, several = axis_words(ndim, axis)
        n = want.shape[axis]
        yield (
            f"the {several} come in reverse order",
            pair.is_like(np.flip(want, axis)),
        )
        yield (
            f"the first and the second half of the {several} are swapped",
            n % 2 == 0 and pair.is_like(np.roll(want, n // 2, axis)),
        )
        yield f"the {several} are one too late", _moved(pair, axis, 1)
        yield f"the {several} are one too early", _moved(pair, axis, -1)
        yield (
            f"the {several} are right, but in another order",
            _permuted(pair, axis),
        )
    same = np.sort(pair.got, None), np.sort(want, None)
    yield (
        "these are the expected numbers, but in another order",
        bool(close(*same, pair.tolerance).all()),
    )


def _moved(pair: Pair, axis: int, by: int) -> bool:
    got, want = (np.moveaxis(x, axis, 0) for x in (pair.got, pair.want))
    got, want = (got[1:], want[:-1]) if by > 0 else (got[:-1], want[1:])
    return distinct(want) > 1 and bool(close(got, want, pair.tolerance).all())


def _permuted(pair: Pair, axis: int) -> bool:
    """Tell whether the indices along an axis are permuted as a whole."""
    got, want = (np.moveaxis(x, axis, 0) for x in (pair.got, pair.want))
    if len(want) > 50 or got[0].size < 2:
        return False
    free = list(range(len(want)))
    for x in got:
        fits = [i for i in free if close(x, want[i], pair.tolerance).all()]
        if not fits:
            return False
        free.remove(fits[0])
    return True
