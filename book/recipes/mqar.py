"""Train the six kinds on multi-query associative recall, over many seeds.

    python book/recipes/mqar.py pilot --device cuda --out runs/mqar_pilot.json
    python book/recipes/mqar.py main --device cuda \
        --pilot runs/mqar_pilot.json --out book/results/mqar.json

The pilot tries five learning rates on two seeds that are not reported. For
each kind and setting, the main run trains eight seeds at the pilot's best rate
and at the two neighbouring rates, 24 models in one stack. Fixed before the
main run:

primary metric: the share of seeds whose accuracy at the queries reaches 0.99
    by the last step, at the best rate of the pilot;
primary contrast: "diff" against "wide + norm", Fisher's exact test.

Rows and tasks are those of Zoology (arXiv 2312.04927); blocks, rotary
positions and training are ours. Zoology's models have one head of the model's
width, as "wide" has here. So "plain" has two heads of half that width, and
"diff" has one differential head of two such maps.
"""

import argparse
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from jobs import Job, rows, run_jobs

from minidiff import ModelConfig, TrainConfig
from minidiff.data.mqar import MQARTask
from minidiff.evaluation.attention import answer_attention
from minidiff.nn.kinds import KINDS, build_kind, six_kinds
from minidiff.training.stacked.train import train_stacked

WIDTHS = (64, 128)
SIZES = ((64, 4), (128, 8))  # length, pairs
RATES = tuple(round(1e-4 * 10 ** (i / 2), 6) for i in range(5))
SEEDS, PILOT_SEEDS = tuple(range(8)), (100, 101)
SOLVED = 0.99
CONFIG = TrainConfig(
    steps=10_000,
    batch_size=64,
    warmup_steps=500,
    eval_every=250,
    eval_batches=8,
    precision="bfloat16",
)
PILOT = replace(CONFIG, steps=2_500, warmup_steps=125, eval_batches=4)


def base_config(width: int, length: int) -> ModelConfig:
    """Return the sizes that the six kinds share."""
    return ModelConfig(
        vocab_size=MQARTask().vocab_size,
        embed_dim=width,
        num_layers=2,  # one layer cannot solve the task
        num_heads=2,
        max_length=2 * length,  # to evaluate on longer rows
    )


def train_job(job: Job, device: torch.device) -> list[dict[str, Any]]:
    """Train all seeds and rates of one kind and setting; a row for each."""
    length, pairs, width = job["length"], job["pairs"], job["width"]
    config = TrainConfig(**job["config"])
    tasks = {
        seed: MQARTask(pairs=pairs, length=length, seed=seed)
        for seed in job["seeds"]
    }
    each = [(rate, seed) for rate in job["rates"] for seed in job["seeds"]]
    base = base_config(width, length)
    models = [
        build_kind(base, job["kind"], seed).to(device) for _, seed in each
    ]
    curves = train_stacked(
        models,
        [tasks[seed] for _, seed in each],
        config,
        [rate for rate, _ in each],
        compile=job["compile"],
        workers=6 if device.type == "cuda" else 0,
        progress=False,
    )
    found = []
    for i, (rate, seed) in enumerate(each):
        accuracy = curves.valid_accuracy[:, i].tolist()
        reached = [
            step
            for step, value in zip(curves.eval_steps, accuracy, strict=True)
            if value >= SOLVED
        ]
        found.append(
            {
                "rate": rate,
                "seed": seed,
                "parameters": models[i].num_parameters(),
                "accuracy": round(accuracy[-1], 4),
                "loss": round(curves.valid_loss[-1, i].item(), 4),
                "solved": accuracy[-1] >= SOLVED,
                "solved_after": reached[0] if reached else None,
                "curve": [round(value, 3) for value in accuracy],
            }
        )
        if job["measure"]:
            found[-1] |= measure(models[i], tasks[seed])
    return found


@torch.no_grad()
def measure(model: torch.nn.Module, task: MQARTask) -> dict[str, Any]:
    """Measure a trained model on validation rows."""
    found: dict[str, Any] = {}
    for name, harder in (
        ("more_pairs", replace(task, pairs=2 * task.pairs)),
        ("longer", replace(task, length=2 * task.length)),
        ("noise", replace(task, noise=True)),
    ):
        found[f"accuracy_{name}"] = round(accuracy(model, harder), 4)
    device = next(model.parameters()).device
    sample = task.sample(0, 128, "valid")
    tokens, queries, answers = (
        x.to(device) for x in (sample.inputs, sample.queries, sample.answers)
    )
    for name, value in (
        answer_attention(model, tokens, queries, answers)._asdict().items()
    ):
        found[name] = [
            [round(x, 4) for x in layer] for layer in value.tolist()
        ]
    return found


def accuracy(model: torch.nn.Module, task: MQARTask) -> float:
    """Return the share of right answers at queries of 512 validation rows."""
    device = next(model.parameters()).device
    sample = task.sample(0, 512, "valid")
    tokens, queries = sample.inputs.to(device), sample.queries.to(device)
    right = sample.targets.to(device).take_along_dim(queries, 1)
    logits = model(tokens, positions=queries)
    return (logits.argmax(-1) == right).double().mean().item()


def pilot_jobs() -> list[Job]:
    """Return a job for each kind and setting: five rates, two pilot seeds."""
    return [
        {
            "kind": kind,
            "length": length,
            "pairs": pairs,
            "width": width,
            "rates": list(RATES),
            "seeds": list(PILOT_SEEDS),
            "measure": False,
            "compile": False,  # takes a minute, more than 2,500 steps save
            "config": asdict(PILOT),
        }
        for width in WIDTHS
        for length, pairs in SIZES
        for kind in KINDS
    ]


def best_rates(pilot: dict[str, Any]) -> dict[tuple[str, int, int], float]:
    """Return the pilot's best rate of each (kind, length, width).

    The best rate has the highest accuracy averaged over all evaluations and
    seeds, so models that solve the task earlier score higher.
    """
    scores: dict[tuple[str, int, int], dict[float, list[float]]] = {}
    for row in rows(pilot):
        setting = scores.setdefault(
            (row["kind"], row["length"], row["width"]), {}
        )
        mean = sum(row["curve"]) / len(row["curve"])
        setting.setdefault(row["rate"], []).append(mean)
    return {
        setting: max(by_rate, key=lambda rate: sum(by_rate[rate]))
        for setting, by_rate in scores.items()
    }


def main_jobs(pilot: dict[str, Any]) -> list[Job]:
    """Return a job for each kind and setting: the best rate and neighbours."""
    best = best_rates(pilot)
    jobs = []
    for job in pilot_jobs():
        rate = best[job["kind"], job["length"], job["width"]]
        jobs.append(
            job
            | {
                "rates": [round(rate * 10**x, 6) for x in (-0.5, 0, 0.5)],
                "seeds": list(SEEDS),
                "measure": True,
                "compile": job["length"] * job["width"] > 64 * 64,
                "config": asdict(CONFIG),
            }
        )
    return jobs


def main() -> None:
    """Run the pilot or the main run, or print the pilot's best rates."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("what", choices=["pilot", "main"])
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--pilot", type=Path, help="record of the pilot")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=1e9)
    parser.add_argument("--steps", type=int, help="fewer, only to try it")
    options = parser.parse_args()
    if options.what == "main" and options.pilot is None:
        parser.error("--pilot: the main run takes its rates from a pilot")
    if options.what == "pilot":
        jobs = pilot_jobs()
    else:
        jobs = main_jobs(json.loads(options.pilot.read_text(encoding="utf-8")))
    if options.steps:
        quick = {"steps": options.steps, "warmup_steps": options.steps // 20}
        for job in jobs:
            job["config"] |= quick | {"eval_every": options.steps // 4}
    sizes = six_kinds(base_config(*WIDTHS[:1], 64))
    run_jobs(
        train_job,
        jobs,
        options.out,
        {
            "what": f"MQAR, {options.what}",
            "kinds": {kind: c.to_dict() for kind, c in sizes.items()},
            "task": MQARTask().describe(),
        },
        device=options.device,
        minutes=options.minutes,
    )


if __name__ == "__main__":
    main()
