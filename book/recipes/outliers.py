"""Train the six kinds at two learning rates, and record their largest logits.

    python book/recipes/outliers.py --out book/results/outliers.json

Small models, on a short form of the needle race of chapters 15 and 19: 2
needles in a row of 32 tokens, both asked, 400 steps. Each kind is trained with
four seeds at two rates, eight models in one stack; every seed has the same
rows for all kinds and both rates. About 9 minutes of one CPU core. The sizes
were chosen with seed 0 of "plain" and "diff", whose largest logits were seen;
it is not recorded.

The run compares two causes of large logits: the kind and the learning rate.
Fixed before the run:

metric: the largest absolute logit on 64 validation rows;
contrasts: the higher rate against the lower within each kind, and "diff"
    against each other kind at each rate, as ratios paired by seed.

Loss and accuracy with rounded logits are recorded beside it.
"""

import argparse
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import needle_race
import torch
from jobs import Job, run_jobs
from pool_measures import BITS, Eager

from minidiff import DecoderLM, TrainConfig
from minidiff.data import NeedleTask
from minidiff.evaluation.activations import largest_activations
from minidiff.evaluation.rounding import rounded_logits
from minidiff.nn.kinds import KINDS, build_kind, six_kinds
from minidiff.training.stacked.train import train_stacked
from minidiff.training.validation import validate

RATES, SEEDS, ROWS = (1e-3, 4e-3), (1, 2, 3, 4), 64
TASK = replace(needle_race.TASK, length=32)
BASE = replace(needle_race.BASE, max_length=TASK.length)
CONFIG = TrainConfig(steps=400, batch_size=32, eval_every=400)


def train_job(job: Job, device: torch.device) -> list[dict[str, Any]]:
    """Train all seeds and rates of one kind; a row for each model."""
    if device.type == "cpu":
        torch.set_num_threads(1)
    tasks = {seed: replace(TASK, seed=seed) for seed in job["seeds"]}
    each = [(rate, seed) for rate in job["rates"] for seed in job["seeds"]]
    models = [
        build_kind(BASE, job["kind"], seed).to(device) for _, seed in each
    ]
    curves = train_stacked(
        models,
        [tasks[seed] for _, seed in each],
        TrainConfig(**job["config"]),
        [rate for rate, _ in each],
        progress=False,
    )
    return [
        {
            "rate": rate,
            "seed": seed,
            "parameters": model.num_parameters(),
            "valid_loss": round(curves.valid_loss[-1, i].item(), 4),
            "valid_accuracy": round(curves.valid_accuracy[-1, i].item(), 4),
            **measure(model, tasks[seed]),
        }
        for i, (model, (rate, seed)) in enumerate(
            zip(models, each, strict=True)
        )
    ]


@torch.no_grad()
def measure(model: DecoderLM, task: NeedleTask) -> dict[str, Any]:
    """Return the largest activations, and the cost of rounded logits."""
    device = next(model.parameters()).device
    rows, _ = task.batch(0, ROWS, "valid")
    rounding = {}
    for bits in (None, *BITS):
        with rounded_logits(bits) if bits else nullcontext():
            found = validate(Eager(model), task, batches=4, batch_size=ROWS)
        rounding[f"{bits} bits" if bits else "exact"] = {
            "loss": round(found.loss, 4),
            "accuracy": round(found.accuracy, 4),
        }
    return {
        "activations": largest_activations(
            model, rows.to(device), batch_size=ROWS
        ),
        "rounding": rounding,
    }


def outlier_jobs() -> list[Job]:
    """Return a job for each kind."""
    return [
        {
            "kind": kind,
            "rates": list(RATES),
            "seeds": list(SEEDS),
            "config": asdict(CONFIG),
        }
        for kind in KINDS
    ]


def main() -> None:
    """Train the kinds that are not in the record yet."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=1e9)
    parser.add_argument("--steps", type=int, help="fewer, only to try it")
    options = parser.parse_args()
    jobs = outlier_jobs()
    if options.steps:
        for job in jobs:
            quick = {"steps": options.steps, "warmup_steps": 0}
            job["config"] |= quick
    run_jobs(
        train_job,
        jobs,
        options.out,
        {
            "what": "largest logits by kind and learning rate",
            "kinds": {k: c.to_dict() for k, c in six_kinds(BASE).items()},
            "task": TASK.describe(),
        },
        device=options.device,
        minutes=options.minutes,
    )


if __name__ == "__main__":
    main()
