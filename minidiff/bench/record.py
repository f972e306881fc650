"""Records of benchmarks: measure every setting and write the results."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch

from minidiff.bench.report import Row, ready
from minidiff.files.json import write_json
from minidiff.files.provenance import provenance

Setting = TypeVar("Setting")


def say(text: str) -> None:
    """Print at once, even into a file or a pipe."""
    print(text, flush=True)


@dataclass(frozen=True, kw_only=True)
class Run:
    """Options common to all benchmarks.

    The record, which includes ``command``, is written to the file ``out`` if
    one is given. Raises ValueError for rounds below 1.
    """

    device: torch.device
    dtype: torch.dtype
    rounds: int
    command: str
    out: Path | None = None
    say: Callable[[str], None] = say

    def __post_init__(self) -> None:
        if self.rounds < 1:
            raise ValueError(
                f"--rounds: got {self.rounds}, expected 1 or more"
            )

    def record(
        self,
        settings: Sequence[Setting],
        measure: Callable[..., Iterable[Row]],
        table: Callable[[list[Row]], str],
        *,
        what: str,
        **more: Any,
    ) -> dict[str, Any]:
        """Measure every setting; return the record.

        ``measure`` is called with setting, device, dtype and rounds, and
        yields rows; ``more`` holds further entries of the record that apply
        to all settings. Each row is printed when its peer is ready, and the
        record is written then and after each setting, so that a run that is
        stopped keeps its results: on Ctrl-C the rows have the times of the
        rounds so far, and "stopped" is set, since their peers were not
        checked again. If a peer is wrong, its setting's rows are dropped.
        """
        gpu = self.device.type == "cuda"
        record: dict[str, Any] = {
            "what": what,
            "provenance": provenance(str(self.device), self.command),
            "setting": {
                "dtype": str(self.dtype).removeprefix("torch."),
                "causal": True,
                "rounds": self.rounds,
                "seed": 0,
                **more,
            },
            "rows": [],
        }
        for setting in settings:
            first = len(record["rows"])
            try:
                # Events, memory counts and masks use the current GPU.
                with torch.cuda.device(self.device) if gpu else nullcontext():
                    for row in measure(
                        setting, self.device, self.dtype, self.rounds
                    ):
                        record["rows"].append(row)
                        self.say(ready(row))
                        self._write(record)
            except ArithmeticError:
                del record["rows"][first:]
                raise
            except KeyboardInterrupt:
                record["stopped"] = True
                raise
            finally:
                if rows := record["rows"][first:]:
                    self.say(table(rows))
                self._write(record)
        return record

    def _write(self, record: dict[str, Any]) -> None:
        if self.out is not None:
            write_json(self.out, record)
