"""Names for numbers that depend on the arguments of each case."""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import cache
from itertools import combinations, product
from typing import Any

import numpy as np

from minidiff.check.differences.pair import Pair, distinct

_POWERS = (
    (),
    (1.0, 2.0, -1.0, 0.5, -0.5, -2.0),
    (1.0, 2.0, -1.0, 0.5, -0.5),
    (1.0, 2.0, -1.0),
)
_MOST = 12  # sizes that are looked at


def size(pairs: Sequence[Pair], numbers: Sequence[float]) -> str | None:
    """Write the numbers, one of each case, as a product of its sizes.

    The sizes are the arguments that are numbers, and the lengths of the axes
    of arrays. Returns None if no short product, times a simple fraction,
    gives all the numbers.
    """
    if len(numbers) < 3 or distinct(np.array(numbers)) < 2:
        return None
    sizes = _sizes(pairs)
    return _product(sizes, np.array(numbers)) or _other(sizes, numbers)


def _sizes(pairs: Sequence[Pair]) -> dict[str, np.ndarray]:
    """Return the sizes by their names, without those that say nothing new.

    Such are the same in all cases, or always a multiple of another one.
    """
    every = [dict(_sizes_of(p.args)) for p in pairs]
    found = {
        name: np.array([sizes[name] for sizes in every])
        for name in every[0]
        if all(name in sizes for sizes in every)
    }
    different: dict[str, np.ndarray] = {}
    for name, x in found.items():
        with np.errstate(all="ignore"):
            known = any(np.ptp(x / y) < 1e-9 for y in different.values())
        if np.ptp(x) and not known:
            different[name] = x
    return different


def _sizes_of(args: dict[str, Any]) -> Iterator[tuple[str, float]]:
    for name, x in args.items():
        if isinstance(x, int | float) and not isinstance(x, bool):
            yield name, float(x)
        for axis, n in enumerate(getattr(x, "shape", ())):
            yield f"{name}.shape[{axis}]", float(n)


def _product(sizes: dict[str, np.ndarray], numbers: np.ndarray) -> str | None:
    positive = {name: x for name, x in sizes.items() if (x > 0).all()}
    names = list(positive)[:_MOST]
    sign = np.sign(numbers)
    if not names or not sign.all() or np.ptp(sign):
        return None
    logs = np.log(np.array([positive[name] for name in names]))
    powers = _combinations(len(names))
    if distinct(numbers) < 3:
        powers = powers[(powers != 0).sum(1) < 2]
    rest = np.log(np.abs(numbers)) - powers @ logs
    fits = np.flatnonzero(np.ptp(rest, axis=1) < 1e-6)
    if not len(fits):
        return None
    few = (powers[fits] != 0).sum(1)
    if (few == few[0]).sum() > 1:
        return None  # several products fit, so none of them says anything
    factor = float(sign[0] * np.exp(rest[fits[0]].mean()))
    simple = Fraction(factor).limit_denominator(16 if few[0] == 1 else 2)
    if abs(factor - simple) > 1e-6 * abs(factor) or abs(simple) > 16:
        return None
    return _written(simple, dict(zip(names, powers[fits[0]], strict=True)))


@cache
def _combinations(count: int) -> np.ndarray:
    """Return rows of powers of ``count`` sizes, few sizes first."""
    rows = []
    for several in range(1, min(count, 3) + 1):
        for chosen in combinations(range(count), several):
            for powers in product(_POWERS[several], repeat=several):
                row = np.zeros(count)
                row[list(chosen)] = powers
                rows.append(row)
    return np.array(rows)


def _written(factor: Fraction, powers: dict[str, float]) -> str:
    above = [] if abs(factor.numerator) == 1 else [str(abs(factor.numerator))]
    below = [] if factor.denominator == 1 else [str(factor.denominator)]
    for name, power in powers.items():
        if power:
            how = {0.5: "sqrt({})", 1: "{}", 2: "{}**2"}[abs(power)]
            (above if power > 0 else below).append(how.format(name))
    text = " * ".join(above) or "1"
    text = "".join([text, *(f" / {x}" for x in below)])
    return f"-{text}" if factor < 0 else text


def _other(
    sizes: dict[str, np.ndarray], numbers: Sequence[float]
) -> str | None:
    for name, x in sizes.items():
        with np.errstate(all="ignore"):
            for text, made in (
                (f"(1 - {name})", 1 - x),
                (f"1 / (1 - {name})", 1 / (1 - x)),
                (f"(1 + {name})", 1 + x),
                (f"exp({name})", np.exp(x)),
            ):
                if np.allclose(made, numbers, rtol=1e-6):
                    return text
    return None
