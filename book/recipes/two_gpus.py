"""Train in one process and in two: are losses equal, and how fast is it?

    python book/recipes/two_gpus.py
    python book/recipes/two_gpus.py --quick --out tried.json

Needs two GPUs, which talk through NCCL; ``--quick`` tries it with two
processes on CPUs. Each row of the record compares two ways of training:

"equal": ``minidiff train`` on the needle task in float32, by two processes
    with DDP and with FSDP: the largest difference of a loss, and of the size
    of a gradient, from those of one process at the same step, as a share.
"resumed": the same run, interrupted, and resumed by another number of
    processes: the same differences, from the first step after resuming, and
    that of the first loss alone.
"speed": tokens per second of a model of 151 million parameters at equal batch
    size, in bfloat16 and not compiled: the median of three times 20 updates,
    after 20 that are not timed.
"""

import argparse
import json
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from minidiff import Compute, DecoderLM, ModelConfig, TrainConfig
from minidiff.data import NeedleTask
from minidiff.files.json import write_json
from minidiff.files.provenance import provenance
from minidiff.training.distributed import joined, world
from minidiff.training.step import Updates

OUT = Path(__file__).resolve().parents[1] / "results" / "two_gpus.json"
TORCHRUN = ["-m", "torch.distributed.run", "--standalone"]
TORCHRUN += ["--nproc-per-node", "2"]
# Processes, and how two of them share the model.
WAYS = ((1, "ddp"), (2, "ddp"), (2, "fsdp"))
STEPS, QUICK_STEPS = 400, 60
MODEL = ModelConfig(
    vocab_size=256,
    embed_dim=1024,
    num_layers=12,
    num_heads=16,
    max_length=1024,
)
CONFIG = TrainConfig(
    steps=80, batch_size=32, lr=3e-4, warmup_steps=0, precision="bfloat16"
)
REPEATS = 3  # after as many updates that are not timed

Log = list[dict[str, Any]]


def start(processes: int, *program: str) -> "subprocess.Popen[str]":
    """Start a Python program, with torchrun for two processes."""
    before = TORCHRUN if processes == 2 else []
    return subprocess.Popen(
        [sys.executable, *before, *program],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: "subprocess.Popen[str]") -> None:
    """Wait for a program; raise RuntimeError with its words if it failed."""
    _, said = process.communicate()
    if process.returncode != 0:
        raise RuntimeError(said)


def training(folder: Path, *options: str) -> list[str]:
    """Return the command of a training that is kept in ``folder``."""
    return ["-m", "minidiff", "train", "--out", str(folder), *options]


def log(folder: Path) -> Log:
    """Return the records that a run has written so far."""
    file = folder / "log.jsonl"
    lines = file.read_text().splitlines() if file.exists() else []
    return [json.loads(line) for line in lines]


def differences(got: Log, want: Log) -> dict[str, float]:
    """Return the largest share by which two logs differ, step by step."""
    if [r["step"] for r in got] != [r["step"] for r in want]:
        raise ValueError("got other steps than those to compare with")
    pairs = list(zip(got, want, strict=True))
    return {
        key: max(abs(a[key] / b[key] - 1) for a, b in pairs)
        for key in ("loss", "grad_norm")
    }


def interrupted(
    folder: Path, processes: int, options: list[str], at: int
) -> int:
    """Train until ``at`` steps are logged, press Ctrl-C; return the steps."""
    process = start(processes, *training(folder, *options))
    while len(log(folder)) < at:
        if process.poll() is not None:
            finish(process)
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    process.communicate()
    return len(log(folder))


def compare_runs(quick: bool) -> list[dict[str, Any]]:
    """Return the rows "equal" and "resumed"."""
    steps = QUICK_STEPS if quick else STEPS
    options = ["--data", "needles", "--device", kind_of_device()]
    options += ["--steps", str(steps)]
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as temporary:
        folders = {}
        for processes, parallel in WAYS:
            folder = Path(temporary, f"{processes}_{parallel}")
            kind = ["--parallel", parallel]
            finish(start(processes, *training(folder, *options, *kind)))
            folders[processes, parallel] = log(folder)
        one = folders[1, "ddp"]
        for way, found in folders.items():
            if way[0] == 2:
                row = {"what": "equal", "processes": 2, "parallel": way[1]}
                rows.append(row | {"steps": steps} | differences(found, one))
        for before, after in (
            ((2, "fsdp"), (1, "ddp")),
            ((1, "ddp"), (2, "fsdp")),
        ):
            folder = Path(temporary, f"cut_{before[0]}")
            kind = ["--parallel", before[1]]
            cut = interrupted(folder, before[0], [*options, *kind], steps // 4)
            kind = ["--resume", "--parallel", after[1]]
            finish(start(after[0], *training(folder, *kind)))
            found, want = log(folder)[cut:], one[cut:]
            row = {"what": "resumed", "before": before, "after": after}
            row |= {"cut": cut, "steps": steps}
            first = differences(found[:1], want[:1])["loss"]
            rows.append(row | {"first_loss": first} | differences(found, want))
    return rows


def timed_updates(parallel: str, quick: bool, out: Path) -> None:
    """Time updates in this process, together with torchrun's others."""
    model, config = MODEL, CONFIG
    if quick:
        model = replace(MODEL, embed_dim=32, num_layers=2, num_heads=2)
        model = replace(model, max_length=32)
        config = replace(CONFIG, steps=12, precision="float32")
    data = NeedleTask(length=model.max_length, needles=6)
    each = config.steps // (1 + REPEATS)
    with joined(torch.device(kind_of_device())) as device:
        torch.manual_seed(0)
        decoder = DecoderLM(model).to(device)
        size = decoder.num_parameters()
        updates = Updates(decoder, config, Compute(parallel=parallel))
        seconds = []
        for step in range(config.steps):
            if step % each == 0:
                begin = time.perf_counter()
            updates.update(data, step)
            if step % each == each - 1:
                if device.type == "cuda":
                    torch.cuda.synchronize(device)
                seconds.append((time.perf_counter() - begin) / each)
        tokens = config.batch_size * model.max_length
        if world().first:
            found = {
                "parameters": size,
                "tokens_an_update": tokens,
                "seconds": seconds[1:],
                "tokens_per_s": tokens / statistics.median(seconds[1:]),
            }
            write_json(out, found)


def compare_speed(quick: bool) -> list[dict[str, Any]]:
    """Return the rows "speed"."""
    rows = []
    for processes, parallel in WAYS:
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder, "seconds.json")
            options = ["--timed", parallel, "--out", str(out)]
            options += ["--quick"] * quick
            finish(start(processes, __file__, *options))
            found = json.loads(out.read_text())
        row = {"what": "speed", "processes": processes, "parallel": parallel}
        rows.append(row | found)
    return rows


def kind_of_device() -> str:
    """Return "cuda" where there is a GPU, else "cpu"."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def main() -> None:
    """Compare the ways of training; write the record after each part."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="only try it")
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--timed", help=argparse.SUPPRESS)  # by itself
    options = parser.parse_args()
    if options.timed:
        timed_updates(options.timed, options.quick, options.out)
        return
    gpus = torch.cuda.device_count()
    if gpus < 2 and not options.quick:
        parser.error(f"needs two GPUs, found {gpus}; --quick tries it without")
    if options.quick and options.out == OUT:
        parser.error(f"--quick: expected --out, another file than {OUT.name}")
    record: dict[str, Any] = {
        "what": "one process and two: losses, resuming, tokens per second",
        "provenance": provenance(kind_of_device(), " ".join(sys.argv)),
        "quick": options.quick,
        "rows": [],
    }
    for part in (compare_speed, compare_runs):
        record["rows"] += part(options.quick)
        write_json(options.out, record)
    for row in record["rows"]:
        print(*(f"{name} {value}" for name, value in row.items()), sep=", ")


if __name__ == "__main__":
    main()
