"""Fuzz of the fused kernels: random cases against float64 for a given time."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import torch

from minidiff.bench.fuzz_cases import Case, draw
from minidiff.bench.fuzz_judge import (
    LIMIT,
    Judgement,
    Operator,
    describe,
    judge,
)
from minidiff.bench.record import say
from minidiff.files.json import write_json
from minidiff.files.provenance import provenance


@dataclass(kw_only=True)
class Fuzz:
    """Options of one run, and what it has found so far.

    It ends after ``cases`` cases or ``minutes``, whichever is given. The
    record is written to ``out``, if given, after each case.
    """

    operator: Operator
    device: torch.device
    command: str = ""
    seed: int = 0
    cases: int | None = None
    minutes: float | None = None
    dtype: torch.dtype | None = None
    out: Path | None = None
    say: Callable[[str], None] = say
    record: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        self.record = {
            "what": "random cases of the fused kernels against float64",
            "provenance": provenance(str(self.device), self.command),
            "setting": {"seed": self.seed, "limit": LIMIT},
            "cases": {},
            "worst": {},
            "failures": [],
        }

    def run(self) -> bool:
        """Judge the cases, print a report; return whether all passed.

        On Ctrl-C the report is of the cases that were judged.
        """
        try:
            for number in self._numbers():
                self.one(number)
        finally:
            self.say(self.report())
        return not self.record["failures"]

    def one(self, number: int) -> tuple[Case, Judgement]:
        """Judge case ``number`` and add it to the record."""
        case = draw(self.seed, number, self.device.type, self.dtype)
        found = judge(case, self.operator, self.device)
        dtype = str(case.dtype).removeprefix("torch.")
        cases, worst = self.record["cases"], self.record["worst"]
        cases[dtype] = cases.get(dtype, 0) + 1
        if found.failure is not None:
            line = self.line(case.number)
            self.record["failures"].append(
                {"case": case.number, "said": found.failure, "line": line}
            )
            self.say(f"case {case.number}: {found.failure}\n  {line}")
        elif found.worst is not None:
            e = found.worst
            if e.ratio >= worst.get(dtype, {"ratio": 0})["ratio"]:
                worst[dtype] = {
                    "ratio": float(f"{e.ratio:.3g}"),
                    "case": case.number,
                    "result": e.name,
                }
        if self.out is not None:
            write_json(self.out, self.record)
        return case, found

    def line(self, number: str) -> str:
        """Return the command that runs one case again."""
        line = f"minidiff bench fuzz --device {self.device} --case {number}"
        if self.dtype is not None:
            line += f" --dtype {self.dtype}".replace("torch.", "")
        return line

    def report(self) -> str:
        """Return the numbers of cases and failures, and the worst ratios."""
        cases, failures = self.record["cases"], self.record["failures"]
        lines = [
            f"{sum(cases.values())} cases, {len(failures)} failures; worst "
            f"ratio to eager's own error, where at most {LIMIT:g} passes:"
        ]
        for dtype, e in self.record["worst"].items():
            lines.append(
                f"  {dtype:8s} {cases[dtype]:5d} cases  {e['ratio']:.2f}  "
                f"({e['result']} of case {e['case']})"
            )
        return "\n".join(lines)

    def _numbers(self) -> Iterator[int]:
        start = time.monotonic()
        for number in count():
            if self.cases is not None and number >= self.cases:
                return
            spent = time.monotonic() - start
            if self.minutes is not None and spent >= 60 * self.minutes:
                return
            yield number


def again(fuzz: Fuzz, number: int) -> bool:
    """Judge one case and print all of it; return whether it passed."""
    case, found = fuzz.one(number)
    lines = [str(case)]
    lines += [f"  {e.name:12s} {describe(e)}" for e in found.errors]
    lines.append(f"failed: {found.failure}" if found.failure else "passed")
    fuzz.say("\n".join(lines))
    return found.failure is None
