"""Train both kinds on needle recall at several learning rates.

    python book/recipes/needle_sweep.py

Writes book/results/needle_sweep.json: the last training losses and the
validation loss of every run, with the machine and versions. Uses all CPU
cores, one for each run; takes about 12 minutes on two cores.
"""

import os
import platform
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from pathlib import Path

import numpy as np
import torch

from minidiff import DecoderLM, ModelConfig, TrainConfig, train
from minidiff.data import NeedleTask
from minidiff.files.json import write_json

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / "book" / "results" / "needle_sweep.json"
KINDS, RATES, SEEDS = ("softmax", "diff"), (1e-3, 2e-3, 3e-3, 5e-3), range(5)
STEPS = 400


def run(job: tuple[str, float, int]) -> dict[str, object]:
    """Train one model as chapter 15 does; return its losses."""
    kind, lr, seed = job
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    task = NeedleTask(questions=2, repeats=False, seed=seed)
    model = DecoderLM(
        ModelConfig(
            vocab_size=task.vocab_size,
            embed_dim=64,
            num_layers=2,
            num_heads=4,
            max_length=task.length,
            attention=kind,
        )
    )
    config = TrainConfig(steps=STEPS, lr=lr, eval_every=STEPS)
    log = train(model, task, config, progress=False)
    last = np.mean([record["loss"] for record in log[-50:]])
    return {
        "kind": kind,
        "lr": lr,
        "seed": seed,
        "last_50_steps": round(float(last), 4),
        "valid_loss": round(log[-1]["valid_loss"], 4),
        "valid_accuracy": round(log[-1]["valid_accuracy"], 4),
    }


def main() -> None:
    """Run all jobs and write the record."""
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        runs = list(pool.map(run, product(KINDS, RATES, SEEDS)))
    git = ["git", "rev-parse", "HEAD"]
    commit = subprocess.run(git, cwd=ROOT, capture_output=True, text=True)
    record = {
        "what": "needle recall, chapter 15's task and model",
        "command": "python book/recipes/needle_sweep.py",
        "commit": commit.stdout.strip(),
        "device": f"CPU, {os.cpu_count()} cores, {platform.machine()}",
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
        },
        "steps": STEPS,
        "runs": runs,
    }
    write_json(OUT, record)


if __name__ == "__main__":
    sys.exit(main())
