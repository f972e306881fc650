"""Records of benchmarks: measure every setting and write the results."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch

from minidiff.bench.report import Row
from minidiff.files.json import write_json
from minidiff.files.provenance import provenance

Setting = TypeVar("Setting")


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
    say: Callable[[str], None] = print

    def __post_init__(self) -> None:
        if self.rounds < 1:
            raise ValueError(
                f"--rounds: got {self.rounds}, expected 1 or more"
            )

    def record(
        self,
        settings: Sequence[Setting],
        measure: Callable[..., list[Row]],
        table: Callable[[list[Row]], str],
        *,
        what: str,
        **more: Any,
    ) -> dict[str, Any]:
        """Measure every setting; return the record.

        The record is written after each setting, so that a run that is
        stopped keeps its results. ``measure`` is called with setting,
        device, dtype and rounds; ``more`` holds further entries of the
        record that apply to all settings.
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
            # Events, memory counts and masks use the current GPU.
            with torch.cuda.device(self.device) if gpu else nullcontext():
                rows = measure(setting, self.device, self.dtype, self.rounds)
            record["rows"] += rows
            self.say(table(rows))
            if self.out is not None:
                write_json(self.out, record)
        return record
