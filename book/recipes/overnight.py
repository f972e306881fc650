"""Run the closing command of chapter 15 to its end: time, loss and samples.

    python book/recipes/overnight.py --device cuda
    python book/recipes/overnight.py --quick --out tried.json

The command trains a model in a run folder, and two more measure it and let it
write: ``minidiff evaluate`` on all of the held-out library, and ``minidiff
generate`` with three seeds. The record has the time of the first, the
held-out loss while it trained, and what the others print. On a GPU the model
is trained in bfloat16.

The number of steps was chosen after a run of 10,000 (overnight_10000.json):
its held-out loss was lowest half way, and rose from there, because 2.7 million
tokens are little to read fifteen times.
"""

import argparse
import json
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import mean
from typing import Any

from minidiff.files.json import write_json
from minidiff.files.provenance import provenance

OUT = Path(__file__).resolve().parents[1] / "results" / "overnight.json"
FOLDER = "runs/overnight"  # as the chapter calls it
TRAIN = (
    "train --tokenizer bpe --vocab-size 2048 --width 256 --layers 4 "
    "--heads 16 --length 256 --batch-size 16 --lr 0.002 --steps 4000"
)
QUICK = "train --width 32 --layers 1 --heads 2 --batch-size 2 --steps 4"
GENERATE = 'generate --prompt "class Reader:" --temperature 0.6'
SEEDS = (0, 1, 2)
KEPT = ("tokens", "bytes", "nats", "low", "high", "bits_per_byte")


def run(command: str, folder: Path, *more: str) -> str:
    """Run a command of minidiff on the folder; return what it prints."""
    name, *options = shlex.split(command)
    place = ["--out", str(folder)] if name == "train" else [str(folder)]
    return subprocess.run(
        [sys.executable, "-m", "minidiff", name, *place, *options, *more],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout


def measure(
    train: str, device: str, windows: str, folder: Path
) -> dict[str, Any]:
    """Train, evaluate and generate; return the record but its provenance."""
    start = time.monotonic()
    run(train, folder)
    seconds = time.monotonic() - start
    lines = (folder / "log.jsonl").read_text("utf-8").splitlines()
    log = [json.loads(line) for line in lines]
    curve, since = [], []  # the training losses since the last row
    for row in log:
        since.append(row["loss"])
        if "valid_loss" in row:
            point = {"loss": mean(since), "valid_loss": row["valid_loss"]}
            point = {name: round(x, 4) for name, x in point.items()}
            curve.append({"step": row["step"] + 1} | point)
            since = []
    report = folder / "evaluated.json"
    parts = ("--parts", "loss", "--windows", windows, "--device", device)
    run("evaluate", folder, *parts, "--out", str(report))
    held_out = json.loads(report.read_text("utf-8"))["loss"]["domains"]["all"]
    return {
        "seconds": round(seconds, 1),
        "tokens_read": log[-1]["tokens"],
        "data": json.loads((folder / "run.json").read_text("utf-8"))["data"],
        "curve": curve,
        "held_out": {name: held_out[name] for name in KEPT},
        "generate": GENERATE,
        "samples": [run(GENERATE, folder, "--seed", str(s)) for s in SEEDS],
    }


def main() -> None:
    """Read the options, train, write the record."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--device", default="cpu", help="such as cuda")
    parser.add_argument("--quick", action="store_true", help="only try it")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    if options.quick and options.out == OUT:
        parser.error(f"--quick: expected --out, another file than {OUT.name}")
    train, windows = (QUICK, "2") if options.quick else (TRAIN, "all")
    if options.device != "cpu":
        train += f" --device {options.device} --precision bfloat16"
    with tempfile.TemporaryDirectory() as folder:
        found = measure(train, options.device, windows, Path(folder) / "run")
    command = f"minidiff {train} --out {FOLDER}"
    record = {
        "what": "the closing command of chapter 15, run to its end",
        "provenance": provenance(options.device, command),
    }
    write_json(options.out, record | found)


if __name__ == "__main__":
    main()
