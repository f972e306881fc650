"""Which cases are wrong, and what only they have."""

from collections.abc import Iterator, Sequence
from typing import Any

from minidiff.check.differences.finding import Finding, listed
from minidiff.check.differences.pair import Pair


def cases(pairs: Sequence[Pair], wrong: Sequence[Pair]) -> Finding | None:
    """Say which cases are right; None if there is none."""
    right = [p for p in pairs if not p.wrong.any()]
    if not right:
        return None
    total = len(pairs)
    special = _special(wrong, right)
    if special:
        text = f"right in {len(right)} of {total} cases; wrong only {special}"
        return Finding(text)
    if len(wrong) <= len(right):
        names = listed([p.case for p in wrong], "; ")
        text = f"right in {len(right)} of {total} cases; wrong with {names}"
        return Finding(text)
    names = listed([p.case for p in right], "; ")
    text = f"wrong in {len(wrong)} of {total} cases; right with {names}"
    return Finding(text, telling=False)


def _special(wrong: Sequence[Pair], right: Sequence[Pair]) -> str | None:
    """Name what all wrong cases have, and fewest of the right ones."""
    names = set.intersection(*(set(p.args) for p in (*wrong, *right)))

    def features(pair: Pair) -> list[str]:
        return list(_features({n: pair.args[n] for n in names}))

    ours = [features(p) for p in wrong]
    theirs = [features(p) for p in right]
    count = {
        x: sum(x in others for others in theirs)
        for x in sorted(ours[0])
        if all(x in others for others in ours)
    }
    best = min(count, key=lambda x: count[x], default="")
    # What most cases have, right or wrong, is nothing special.
    have = count.get(best, 0) + len(wrong)
    rare = 3 * have <= 2 * (len(right) + len(wrong))
    return best if best and (rare or not count[best]) else None


def _features(args: dict[str, Any]) -> Iterator[str]:
    """Yield what may be special about the arguments of a case."""
    for name, x in args.items():
        if x is None or isinstance(x, bool):
            yield f"with {name} = {x}"
        elif isinstance(x, int | float):
            if x == 0 or x == 1:
                yield f"with {name} = {x}"
            if x < 0:
                yield f"where {name} is negative"
        elif hasattr(x, "dtype") and hasattr(x, "shape"):
            yield f"where {name} is {str(x.dtype).removeprefix('torch.')}"
            for axis, n in enumerate(x.shape):
                if n == 1:
                    yield f"where {name}.shape[{axis}] is 1"
            if not _is_contiguous(x):
                yield f"where {name} is not contiguous"


def _is_contiguous(x: Any) -> bool:
    if hasattr(x, "is_contiguous"):
        return bool(x.is_contiguous())
    return bool(x.flags["C_CONTIGUOUS"])
