"""Exercise 15.2: the log of a training in bits per byte."""

from functools import partial
from math import log
from typing import Any

import numpy as np

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.check.edited import slip

Record = dict[str, Any]
Log = list[Record]


def bits_per_byte(records: list[Record], tokens: int, size: int) -> np.ndarray:
    """Return every held-out loss in the log, in bits per byte.

    records: the log of `fit`, with losses in nats per token. tokens and size:
    how many tokens and how many bytes the held-out text has.
    """
    valid = [r["valid_loss"] for r in records if "valid_loss" in r]
    return np.array(valid) / log(2) * tokens / size


def _log(steps: int, every: int) -> Log:
    records: Log = []
    for step in range(steps):
        loss = 7 / (1 + 0.3 * step)
        records.append({"step": step, "loss": loss, "lr": 0.1 / (1 + step)})
        if (step + 1) % every == 0 or step + 1 == steps:
            records[-1]["valid_loss"] = loss + 0.2
    return records


def _cases() -> list[Case]:
    return [
        Case(
            name=f"a log of {steps}, measured every {every}, {tokens} tokens "
            f"of {size} bytes",
            args=(_log(steps, every), tokens, size),
        )
        for steps, every, tokens, size in (
            (1, 1, 50, 50),  # byte tokens
            (4, 1, 100, 250),
            (7, 3, 1000, 2800),
        )
    ]


def _valid(records: Log) -> np.ndarray:
    return np.array([r["valid_loss"] for r in records if "valid_loss" in r])


def _training(records: Log) -> np.ndarray:
    return np.array([r["loss"] for r in records])


def _training_where_measured(records: Log) -> np.ndarray:
    return np.array([r["loss"] for r in records if "valid_loss" in r])


def _asked_everywhere(default: float, r: Log, n: int, size: int) -> np.ndarray:
    found = np.array([x.get("valid_loss", default) for x in r])
    return found / log(2) * n / size


EXERCISE = Exercise(
    id="15.2",
    cases=_cases,
    solution=bits_per_byte,
    mistakes=(
        Mistake(
            key="nats",
            diagnosis="That is nats per byte. A bit is ln 2 nats, so divide "
            "by ln 2.",
            wrong=lambda r, n, size: _valid(r) * n / size,
        ),
        Mistake(
            key="nothing converted",
            diagnosis="That is the log as it stands, in nats per token. "
            "Divide by ln 2 for bits, and multiply by tokens / bytes.",
            wrong=lambda r, n, size: _valid(r),
        ),
        Mistake(
            key="tokens forgotten",
            diagnosis="You divide by the bytes of the text, and each loss is "
            "of one token only. The whole text costs `tokens` times as much: "
            "multiply by tokens / bytes.",
            wrong=lambda r, n, size: _valid(r) / log(2) / size,
        ),
        Mistake(
            key="times ln 2",
            diagnosis="You multiply by ln 2. A nat is more than a bit: the "
            "number in bits is larger. Divide.",
            wrong=lambda r, n, size: _valid(r) * log(2) * n / size,
        ),
        Mistake(
            key="per token",
            diagnosis="That is bits per token. All tokens together cost as "
            "many bits as all bytes: multiply by tokens / bytes.",
            wrong=lambda r, n, size: _valid(r) / log(2),
        ),
        Mistake(
            key="ratio inverted",
            diagnosis="You multiply by bytes per token. There are fewer "
            "tokens than bytes, so a byte costs less than a token.",
            wrong=lambda r, n, size: _valid(r) / log(2) * size / n,
        ),
        Mistake(
            key="per text",
            diagnosis="You multiply by the tokens and do not divide by the "
            "bytes: that is the cost of the whole text.",
            wrong=lambda r, n, size: _valid(r) / log(2) * n,
        ),
        Mistake(
            key="training loss",
            diagnosis='You read "loss", which is measured on rows that the '
            'model is trained on. Read "valid_loss".',
            wrong=lambda r, n, size: _training(r) / log(2) * n / size,
            also=(
                lambda r, n, size: (
                    _training_where_measured(r) / log(2) * n / size
                ),
            ),
        ),
        Mistake(
            key="not every record",
            diagnosis="You ask every record for valid_loss, and only those "
            "after a measurement have it. Leave the other records out: "
            'if "valid_loss" in record.',
            wrong=lambda r, n, size: (
                np.array([x["valid_loss"] for x in r]) / log(2) * n / size
            ),
            also=(
                partial(_asked_everywhere, 0.0),
                partial(_asked_everywhere, np.nan),
            ),
        ),
        Mistake(
            key="the last one",
            diagnosis="You return the last measurement. Return all of them.",
            wrong=lambda r, n, size: _valid(r)[-1] / log(2) * n / size,
            also=(lambda r, n, size: _valid(r)[-1:] / log(2) * n / size,),
        ),
        slip(
            "another unit",
            "You divide by another number than ln 2, the number of nats in "
            "a bit.",
            bits_per_byte,
            ("/ log(2)", "/ 2"),
            ("/ log(2)", "/ log(10)"),
            ("/ log(2)", "/ log(3)"),
            ("/ log(2)", "/ log(4)"),
            ("/ log(2)", "/ log(256)"),
        ),
        slip(
            "share the wrong way",
            "You do not multiply by the tokens and divide by the bytes.",
            bits_per_byte,
            ("tokens / size", "tokens * size"),
            ("* tokens / size", "/ tokens / size"),
        ),
        slip(
            "rounded down",
            "You round down. Divide with /.",
            bits_per_byte,
            ("tokens / size", "tokens // size"),
            ("/ log(2)", "// log(2)"),
        ),
    ),
    hints=(
        'Which records have "valid_loss"? Equation 14.2 does the rest.',
        "The cost of the text in bits is loss / ln 2 times tokens. How many "
        "bytes share it?",
        "valid / np.log(2) * tokens / size, for the array of all valid_loss.",
    ),
)
