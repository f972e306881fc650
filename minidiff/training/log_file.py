"""Log of a run: one JSON object a line, one line a step."""

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from minidiff.files.json import parse_json
from minidiff.files.reading import read_bytes
from minidiff.files.schema import fields, integer, maybe, number

LOG_NAME = "log.jsonl"
EXPECTED = "the log that minidiff train writes"
RECORD = fields(
    {
        "step": integer(),
        "loss": number(),
        "lr": number(0),
        "grad_norm": number(0),
        "tokens": integer(),
    },
    # None if the model's logits were not finite.
    {"valid_loss": maybe(number()), "valid_accuracy": maybe(number(0, 1))},
)


def lines_of(records: Iterable[Mapping[str, Any]]) -> str:
    """Format records as lines; a number that JSON does not have is null."""
    return "".join(
        json.dumps({name: _finite(x) for name, x in record.items()}) + "\n"
        for record in records
    )


def read_records(path: Path, most: int | None = None) -> list[dict[str, Any]]:
    """Read the whole lines of a log, or the first ``most`` of them.

    What follows them is not looked at: the last line may be incomplete in
    the log of a run that is still going on or was killed. Raises ValueError,
    naming the file and the line, if the file cannot be read or a line is not
    a record.
    """
    lines = read_bytes(path, EXPECTED).split(b"\n")[:-1][:most]
    return [
        parse_json(
            line.decode(errors="replace"),
            RECORD,
            f"{path}, line {number}",
            EXPECTED,
            wrong="not a run's log",
        )
        for number, line in enumerate(lines, start=1)
    ]


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
