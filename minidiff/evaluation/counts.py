"""Exact test of two counts of solved runs, and ranks of times until solved."""

from collections.abc import Sequence
from math import comb, inf

import numpy as np


def fisher_exact(a: int, n: int, b: int, m: int) -> float:
    """Return the two-sided p-value of a of n against b of m (Fisher 1922).

    It is the probability, with all totals kept, of the tables that are no
    likelier than this one. Raises ValueError unless 0 <= a <= n and
    0 <= b <= m.
    """
    for name, count, most in (("a", a, n), ("b", b, m)):
        if not 0 <= count <= most:
            raise ValueError(
                f"{name}: got {count} of {most}, expected 0 to {most}"
            )
    total = a + b
    ways = [comb(n, k) * comb(m, total - k) for k in range(total + 1)]
    return sum(w for w in ways if w <= ways[a]) / sum(ways)


def mean_ranks(steps: Sequence[float | None]) -> np.ndarray:
    """Return the rank of each run, 1 for the first; None is a run unsolved.

    Equal runs share the mean of their ranks. Unsolved runs come last and are
    equal.
    """
    times = np.array([inf if s is None else s for s in steps])
    before = (times < times[:, None]).sum(1)
    equal = (times == times[:, None]).sum(1)
    return np.asarray(before + (equal + 1) / 2)
