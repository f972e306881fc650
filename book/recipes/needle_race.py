"""Train the six kinds on the needle race of 400 steps, five seeds each.

    python book/recipes/needle_race.py --out book/results/needle_race.json
    python book/recipes/needle_race.py ablations \
        --out book/results/race_ablations.json

The race has two needles in a row of 64 tokens, and both are asked. Its best
learning rate was chosen before, on "plain" and "diff" (needle_sweep.json).
All kinds use it. Every seed has the same rows for all kinds. About 20
minutes on one CPU core.

That "diff" beats "plain" here, and that it does not with lambda held at 0, was
known from earlier runs. The question of this run is which of the differences
between the kinds does it. Fixed before the run:

metric: the share of right second answers, which need "the value not yet said";
contrasts: "diff" against each of the other five, paired by seed.

"ablations" trains seven variants of "diff", from variants.py, on the same rows
in the same way. Fixed before that run: the same metric, and each variant
against "diff", paired by seed, with Holm's correction for seven contrasts.
"""

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from jobs import Job, run_jobs
from variants import VARIANTS, build_variant

from minidiff import DecoderLM, ModelConfig, TrainConfig
from minidiff.data import NeedleTask
from minidiff.nn.kinds import build_kind, six_kinds
from minidiff.training.stacked.train import train_stacked

SEEDS = tuple(range(5))
KINDS = ("diff", "wide + norm", "wide", "first map", "sum", "plain")
TASK = NeedleTask(needles=2, questions=2, repeats=False, length=64)
BASE = ModelConfig(
    vocab_size=TASK.vocab_size,
    embed_dim=64,
    num_layers=2,
    num_heads=4,
    max_length=TASK.length,
)
CONFIG = TrainConfig(steps=400, lr=3e-3, eval_every=400)


def train_job(job: Job, device: torch.device) -> list[dict[str, Any]]:
    """Train all seeds of one kind; a row for each."""
    if device.type == "cpu":
        torch.set_num_threads(1)
    build = build_variant if job["kind"] in VARIANTS else build_kind
    models = [build(BASE, job["kind"], seed) for seed in job["seeds"]]
    models = [model.to(device) for model in models]
    curves = train_stacked(
        models,
        [NeedleTask(**asdict(TASK) | {"seed": s}) for s in job["seeds"]],
        TrainConfig(**job["config"]),
        progress=False,
    )
    found = []
    for i, seed in enumerate(job["seeds"]):
        loss = curves.loss[:, i].unflatten(0, (-1, 10)).mean(1)
        found.append(
            {
                "seed": seed,
                "parameters": models[i].num_parameters(),
                "valid_loss": round(curves.valid_loss[-1, i].item(), 4),
                "curve": [round(x, 3) for x in loss.tolist()],
                **measure(models[i]),
            }
        )
    return found


@torch.no_grad()
def measure(model: DecoderLM) -> dict[str, Any]:
    """Return right answers by question, and the weight on the first answer.

    weight : for each layer, one or three lists of a number per head: the mean
        weight that the last question gives to the place of the first answer,
        in the map, or in A1, A2 and A1 - lambda A2.
    """
    rows = TASK.sample(100, 512, "valid")
    device = next(model.parameters()).device
    logits, maps = model(rows.inputs.to(device), return_maps=True)
    right = (
        logits[:, rows.questions].argmax(-1).cpu()
        == rows.targets[:, rows.questions]
    )
    first, second = right.double().mean(0).tolist()
    place = int(rows.questions[0]) + 1
    parts = [[m] if torch.is_tensor(m) else list(m) for m in maps]
    return {
        "first": round(first, 4),
        "second": round(second, 4),
        "weight": [
            [
                [round(x, 4) for x in A[:, :, -1, place].mean(0).tolist()]
                for A in layer
            ]
            for layer in parts
        ],
    }


def race_jobs(kinds: Sequence[str]) -> list[Job]:
    """Return a job for each kind or variant."""
    return [
        {"kind": kind, "seeds": list(SEEDS), "config": asdict(CONFIG)}
        for kind in kinds
    ]


def main() -> None:
    """Train the kinds that are not in the record yet."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "what", nargs="?", default="kinds", choices=["kinds", "ablations"]
    )
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=1e9)
    options = parser.parse_args()
    kinds = KINDS if options.what == "kinds" else VARIANTS
    name = "" if options.what == "kinds" else ", variants of diff"
    run_jobs(
        train_job,
        race_jobs(kinds),
        options.out,
        {
            "what": f"needle race, 400 steps{name}",
            "kinds": {k: c.to_dict() for k, c in six_kinds(BASE).items()},
            "task": TASK.describe(),
        },
        device=options.device,
        minutes=options.minutes,
    )


if __name__ == "__main__":
    main()
