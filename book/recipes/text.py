"""Train the six kinds on text at 8 M parameters, with eight seeds each.

    python book/recipes/text.py pilot --tokens data/evidence --device cuda \
        --out book/results/text_pilot.json
    python book/recipes/text.py main --tokens data/evidence --device cuda \
        --pilot book/results/text_pilot.json --out book/results/text.json
    python book/recipes/text.py ablations --tokens data/evidence \
        --device cuda --pilot book/results/text_pilot.json \
        --out book/results/ablations.json
    python book/recipes/text.py family --tokens data/evidence \
        --device cuda --pilot book/results/text_pilot.json \
        --out book/results/family.json

The token files come from `minidiff tokens evidence`. The pilot tries four
learning rates on one seed that is not reported, for a quarter of the steps.
The main run trains eight seeds of each kind at its best rate, stacked. For
each seed, all kinds see the same rows in the same order and have the same
initial weights where shapes agree. Fixed before the main run:

primary metric: loss on the validation windows in nats per token, after the
    last step;
primary contrasts: "diff" minus "plain", and "diff" minus "sum", paired by
    seed, with a 95 % interval by Student's t over the seeds.

"ablations" trains five seeds of each variant of "diff" in variants.py, at
"diff"'s rate. Its primary metric is the same; its contrasts are each variant
minus "diff" of the main run, paired by seed. With seven contrasts, at least
one interval excludes zero by chance in 30 of 100 such runs, so they are
exploratory.

"family" trains five seeds of each variant in family.py, which have as many
parameters as "diff" within 1 %, at "diff"'s rate, which was not tuned for
them. Its primary metric is the same; its contrasts are each variant minus
"diff" of the main run, paired by seed, and exploratory.

Training is long enough to pass the point where the loss curves cross. The
validation loss is recorded 40 times.
"""

import argparse
import json
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from family import FAMILY, build_family
from jobs import Job, rows, run_jobs
from variants import VARIANTS, build_variant

from minidiff import DecoderLM, ModelConfig, TrainConfig
from minidiff.data import TokenData
from minidiff.nn.kinds import KINDS, build_kind, six_kinds
from minidiff.training.stacked.train import train_stacked

LENGTH = 512
RATES = (5e-4, 1e-3, 2e-3, 4e-3)
SEEDS, PILOT_SEEDS = tuple(range(8)), (100,)
CONFIG = TrainConfig(
    steps=12_200,  # 200 million tokens, just under four passes
    batch_size=32,
    warmup_steps=300,
    eval_every=305,
    eval_batches=16,
    precision="bfloat16",
)
PILOT = replace(
    CONFIG, steps=3_050, warmup_steps=150, eval_every=610, eval_batches=8
)
SIZES = {"embed_dim": 512, "num_layers": 2, "num_heads": 16}  # H = 8, D = 32
SOFTMAX = ("plain", "wide", "wide + norm", "Integral")
QUICK_SIZES = {"embed_dim": 32, "num_layers": 1, "num_heads": 4}


def base_config(job: Job, vocab_size: int) -> ModelConfig:
    """Return the configuration that the six kinds share."""
    return ModelConfig(
        vocab_size=vocab_size, max_length=job["length"], **job["sizes"]
    )


def corpus(card: dict[str, Any]) -> dict[str, Any]:
    """Return a token folder's card without the command that built it.

    The command names paths, and a run may go on with files built elsewhere.
    """
    about = {k: v for k, v in card["about"].items() if k != "command"}
    return card | {"about": about}


def backend(kind: str, device: torch.device) -> str:
    """Choose the attention's backend: fused on a GPU, eager elsewhere."""
    if device.type != "cuda" or kind == "Cog":
        return "eager"
    return "sdpa" if kind in SOFTMAX else "triton"


def build(base: ModelConfig, kind: str, seed: int) -> DecoderLM:
    """Build a model of one of the six kinds, an ablation or the family."""
    if kind in VARIANTS:
        return build_variant(base, kind, seed)
    if kind in FAMILY:
        return build_family(base, kind, seed)
    return build_kind(base, kind, seed)


def train_job(
    job: Job, device: torch.device, *, tokens: str
) -> list[dict[str, Any]]:
    """Train all seeds and rates of one kind; return a row for each."""
    sources = {
        seed: TokenData(tokens, length=job["length"], seed=seed)
        for seed in job["seeds"]
    }
    each = [(rate, seed) for rate in job["rates"] for seed in job["seeds"]]
    base = base_config(job, sources[each[0][1]].vocab_size)
    models = [build(base, job["kind"], seed).to(device) for _, seed in each]
    curves = train_stacked(
        models,
        [sources[seed] for _, seed in each],
        TrainConfig(**job["config"]),
        [rate for rate, _ in each],
        backend=backend(job["kind"], device),
        compile=device.type == "cuda",
        workers=4 if device.type == "cuda" else 0,
        progress=False,
    )
    return [
        {
            "rate": rate,
            "seed": seed,
            "parameters": models[i].num_parameters(),
            "valid_loss": round(curves.valid_loss[-1, i].item(), 5),
            "valid_accuracy": round(curves.valid_accuracy[-1, i].item(), 5),
            "steps": curves.eval_steps,
            "curve": [round(x, 4) for x in curves.valid_loss[:, i].tolist()],
            "train_loss": [
                round(part.mean().item(), 4)
                for part in curves.loss[:, i].tensor_split(40)
            ],
        }
        for i, (rate, seed) in enumerate(each)
    ]


def pilot_jobs() -> list[Job]:
    """Return a job for each kind: four rates, one seed for the pilot only."""
    return [
        {
            "kind": kind,
            "rates": list(RATES),
            "seeds": list(PILOT_SEEDS),
            "length": LENGTH,
            "sizes": SIZES,
            "config": asdict(PILOT),
        }
        for kind in KINDS
    ]


def best_rates(pilot: dict[str, Any]) -> dict[str, float]:
    """Return each kind's learning rate with the lowest validation loss."""
    best: dict[str, dict[str, Any]] = {}
    for row in rows(pilot):
        before = best.get(row["kind"])
        if before is None or row["valid_loss"] < before["valid_loss"]:
            best[row["kind"]] = row
    return {kind: row["rate"] for kind, row in best.items()}


def main_jobs(pilot: dict[str, Any]) -> list[Job]:
    """Return two jobs of four seeds for each kind, at its best rate.

    Two GPUs share a kind. The kinds of the primary contrasts come first.
    """
    best = best_rates(pilot)
    jobs = {job["kind"]: job for job in pilot_jobs()}
    first = ["diff", "plain", "sum"]
    order = first + [kind for kind in jobs if kind not in first]
    return [
        jobs[kind]
        | {
            "rates": [best[kind]],
            "seeds": list(seeds),
            "config": asdict(CONFIG),
        }
        for kind in order
        for seeds in (SEEDS[:4], SEEDS[4:])
    ]


def ablation_jobs(pilot: dict[str, Any]) -> list[Job]:
    """Return a job of five seeds for each variant, at the rate of "diff"."""
    return _at_the_rate_of_diff(pilot, VARIANTS)


def family_jobs(pilot: dict[str, Any]) -> list[Job]:
    """Return a job of five seeds for each of the family, likewise."""
    return _at_the_rate_of_diff(pilot, FAMILY)


def _at_the_rate_of_diff(
    pilot: dict[str, Any], kinds: tuple[str, ...]
) -> list[Job]:
    rate = best_rates(pilot)["diff"]
    return [
        pilot_jobs()[0]
        | {
            "kind": kind,
            "rates": [rate],
            "seeds": list(SEEDS[:5]),
            "config": asdict(CONFIG),
        }
        for kind in kinds
    ]


def quick(job: Job) -> Job:
    """Shrink a job to seconds on a CPU, only to test the recipe."""
    steps = {"steps": 4, "warmup_steps": 1, "eval_every": 2}
    small = {"batch_size": 2, "eval_batches": 1, "precision": "float32"}
    return job | {
        "seeds": job["seeds"][:2],
        "length": 32,
        "sizes": QUICK_SIZES,
        "config": job["config"] | steps | small,
    }


MAKE = {"main": main_jobs, "ablations": ablation_jobs, "family": family_jobs}


def main() -> None:
    """Run the pilot, the main run, the ablations or the family."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("what", choices=["pilot", *MAKE])
    parser.add_argument("--tokens", required=True, help="the token folder")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--pilot", type=Path, help="record of the pilot")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=1e9)
    parser.add_argument("--quick", action="store_true", help="only try it")
    options = parser.parse_args()
    if options.what == "pilot":
        jobs = pilot_jobs()
    elif options.pilot is None:
        parser.error("--pilot: the rates are taken from the pilot's record")
    else:
        pilot = json.loads(options.pilot.read_text(encoding="utf-8"))
        jobs = MAKE[options.what](pilot)
    if options.quick:
        jobs = [quick(job) for job in jobs]
    data = TokenData(options.tokens, length=jobs[0]["length"])
    kinds = six_kinds(base_config(jobs[0], data.vocab_size))
    run_jobs(
        partial(train_job, tokens=options.tokens),
        jobs,
        options.out,
        {
            "what": f"language modelling, {options.what}",
            "kinds": {kind: c.to_dict() for kind, c in kinds.items()},
            "data": corpus(data.card),
        },
        device=options.device,
        minutes=options.minutes,
    )


if __name__ == "__main__":
    main()
