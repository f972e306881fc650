"""Comparison of two kinds by their recorded runs, and the rule of verdicts.

Seen: the 95 % interval excludes 0 in the direction that the paper reports.
Cannot be seen at this size: its half-width is larger than the paper's effect.
Not seen: neither. A comparison whose record does not exist is not run.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minidiff.evaluation.counts import fisher_exact

Record = dict[str, Any]
Row = dict[str, Any]
Measure = Callable[[Row], float]
Read = Callable[[str], Record | None]  # the record of this name, if any

# Student's factor, 95 %, two sides, for n values.
STUDENT = {3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 7: 2.447, 8: 2.365}
SEEN, NOT_SEEN = "seen", "not seen"
TOO_SMALL = "cannot be seen at this size"


@dataclass(frozen=True, kw_only=True)
class Found:
    """Our side of a row of the page."""

    ours: str
    interval: str = ""
    seeds: str = ""
    verdict: str

    def __str__(self) -> str:
        """Return all but the verdict, as in "0.5 (0.1 to 0.9), 4 seeds"."""
        interval = self.interval and f" ({self.interval})"
        seeds = self.seeds and f", {self.seeds}"
        return f"{self.ours}{interval}{seeds}"


NOT_RUN = Found(ours="-", verdict="not run")


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Return the mean and the half-width of its 95 % interval, by Student's t.

    Raises ValueError for fewer than 3 or more than 8 values.
    """
    n = len(values)
    if n not in STUDENT:
        raise ValueError(f"values: got {n}, expected 3 to 8")
    d = np.asarray(values)
    return float(d.mean()), float(STUDENT[n] * d.std(ddof=1) / n**0.5)


def verdict(
    mean: float, half: float, sign: int, effect: float | None = None
) -> str:
    """Return the verdict on an interval.

    sign : the direction of the paper's effect, -1 or 1
    effect : its size; None if the paper has no figure for this measure
    """
    if sign * mean > half:
        return SEEN
    word = NOT_SEEN if effect is None or half <= effect else TOO_SMALL
    return f"{word}; the opposite sign" if -sign * mean > half else word


def runs(record: Record, kind: str) -> dict[int, Row]:
    """Return the rows of a kind by seed."""
    return {
        row["seed"]: row
        for job in record["jobs"]
        if job["job"]["kind"] == kind
        for row in job.get("rows", [])
    }


@dataclass(frozen=True, kw_only=True)
class Paired:
    """The difference of a measure between two kinds, paired by seed.

    ``base`` is the record of the kind ``against`` where that is another one.
    With ``ratio`` logarithms are compared and the ratio is shown. ``learned``
    says whether a run has learned the task: there is no verdict if none has.
    With ``both``, only pairs in which both have learned it are compared, and
    fewer than three give no verdict. Nor is there one if all runs reach
    ``ceiling``, because then no difference could show.
    """

    record: str
    measure: Measure
    sign: int
    effect: float | None = None
    kind: str = "diff"
    against: str = "plain"
    base: str | None = None
    ratio: bool = False
    learned: Callable[[Row], bool] | None = None
    both: bool = False
    ceiling: float | None = None

    def find(self, read: Read) -> Found:
        """Return the comparison, or that it was not run."""
        record = read(self.record)
        other = read(self.base) if self.base else record
        if record is None or other is None:
            return NOT_RUN
        a, b = runs(record, self.kind), runs(other, self.against)
        seeds = sorted(a.keys() & b.keys())
        if not seeds:
            return NOT_RUN
        if self.both:
            able = [s for s in seeds if self._able(a[s]) and self._able(b[s])]
            if len(able) < min(STUDENT):
                many = f"{len(able)} of {len(seeds)} seeds"
                word = f"none: both models learned the task in {many}"
                return Found(ours="-", verdict=word)
            seeds = able
        x, y = (np.array([self.measure(r[s]) for s in seeds]) for r in (a, b))
        mean, half = interval(np.log(x / y) if self.ratio else x - y)
        word = verdict(mean, half, self.sign, self.effect)
        if not any(map(self._able, [*a.values(), *b.values()])):
            word = "none: all models guess"
        if self.ceiling is not None and min(*x, *y) >= self.ceiling:
            word = f"none: all models reach {self.ceiling:g} or more"
        ends = (mean, mean - half, mean + half)
        if self.ratio:
            middle, low, high = (f"{np.exp(v):.2f}" for v in ends)
        else:
            middle, low, high = (f"{v:+.3f}" for v in ends)
        return Found(
            ours=middle,
            interval=f"{low} to {high}",
            seeds=f"{len(seeds)} seeds",
            verdict=word,
        )

    def _able(self, row: Row) -> bool:
        """Whether a run has learned the task, if that is asked for."""
        return self.learned is None or self.learned(row)


@dataclass(frozen=True, kw_only=True)
class Solved:
    """Counts of MQAR runs that end at 0.99, diff against wide + norm."""

    record: str
    pairs: int
    width: int

    def find(self, read: Read) -> Found:
        """Return the counts at the rates that the pilot chose."""
        record = read(self.record)
        if record is None:
            return NOT_RUN
        a, n = self._count(record, "diff")
        b, m = self._count(record, "wide + norm")
        p = fisher_exact(a, n, b, m)
        return Found(
            ours=f"{a} of {n} against {b} of {m}",
            interval=f"p = {p:.4f}",
            seeds=f"{n} seeds",
            verdict=SEEN if p < 0.05 and a / n > b / m else NOT_SEEN,
        )

    def _count(self, record: Record, kind: str) -> tuple[int, int]:
        right = [
            row["accuracy"]
            for job in record["jobs"]
            for row in job["rows"]
            if (job["job"]["pairs"], job["job"]["width"], job["job"]["kind"])
            == (self.pairs, self.width, kind)
            and row["rate"] == job["job"]["rates"][1]  # the pilot's choice
        ]
        return sum(x >= 0.99 for x in right), len(right)
