"""Figures of records that allow no verdict: one model, or one machine."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from builder.contrasts import NOT_RUN, Found, Read, Row

ONE_MODEL = "none: one model of each kind"


def long_loss(row: Row) -> float:
    """Return the loss in the last range of positions."""
    return row["by_position"][-1]["nats"]


def long_needles(row: Row) -> float:
    """Return the share of right answers in the longest rows."""
    cell = row["needles"][-1]
    return cell["right"] / cell["asked"]


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A measure of one model of each kind, at the largest RoPE base."""

    record: str
    measure: Callable[[Row], float]
    form: str

    def find(self, read: Read) -> Found:
        """Return both values."""
        record = read(self.record)
        if record is None:
            return NOT_RUN
        base = max(row["base"] for row in record["rows"])
        values = {
            row["kind"]: self.form.format(self.measure(row))
            for row in record["rows"]
            if row["base"] == base
        }
        diff = values.pop("diff")
        (plain,) = values.values()
        ours = f"plain {plain}, diff {diff}"
        return Found(ours=ours, seeds="1 seed", verdict=ONE_MODEL)


@dataclass(frozen=True, kw_only=True)
class Share:
    """The best head's share on the answer, over runs that solve MQAR."""

    record: str

    def find(self, read: Read) -> Found:
        """Return the range of both kinds, and how many runs these are."""
        record = read(self.record)
        if record is None:
            return NOT_RUN
        said, counts = [], []
        for kind in ("plain", "diff"):
            best = [
                max(np.ravel(row["on_answer"]), key=abs)
                for job in record["jobs"]
                if job["job"]["kind"] == kind
                for row in job["rows"]
                if row["solved"]
            ]
            said.append(f"{kind} {min(best):.2f} to {max(best):.2f}")
            counts.append(str(len(best)))
        return Found(
            ours=", ".join(said),
            seeds=f"{' and '.join(counts)} runs",
            verdict="none: solved models differ as much within a kind",
        )


@dataclass(frozen=True, kw_only=True)
class Speed:
    """Tokens per second of one way to compute, over those of another."""

    record: str
    first: str
    second: str

    def find(self, read: Read) -> Found:
        """Return the ratio."""
        record = read(self.record)
        if record is None:
            return NOT_RUN
        rate = {row["peer"]: row["tokens_per_s"] for row in record["rows"]}
        ratio = rate[self.first] / rate[self.second]
        return Found(
            ours=f"{ratio:.2f}", verdict="none: one run on one machine"
        )
