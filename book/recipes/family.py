"""The family of differential attention as models, for chapter 27.

    python book/recipes/family.py race --out book/results/family_race.json
    python book/recipes/family.py rates --out book/results/family_rates.json

"race" trains V2, grouped, DINT, Integral and Cog on chapter 19's needle race,
with the rows, seeds and rate of needle_race.json, whose "plain", "wide" and
"diff" they are compared with. Three seeds, about 20 minutes on one CPU core.
At 8 M parameters they are trained by ``text.py family``.

All have as many parameters as "diff", within 1 %: what a variant saves in its
attention goes to its feed-forward layers. Fixed before
the race: the metric is the share of right second answers; the contrasts are
each variant minus "diff" of needle_race.json, paired by seed, with a 95 %
interval by Student's t. These are small models on one task at one rate, which
was tuned on "plain" and "diff" only: they show mechanisms, and no ranking.

"rates" was added after a look at the race: V2 and Cog, which have no norm of
the heads and did not solve it, at a third and at three times the rate. It is
exploratory.
"""

import argparse
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import needle_race
import torch
from jobs import Job, run_jobs

from minidiff import DecoderLM, ModelConfig, TrainConfig
from minidiff.course.family import LAYERS
from minidiff.data import NeedleTask
from minidiff.nn.kinds import build_kind
from minidiff.training.stacked.train import train_stacked

FAMILY = ("V2", *LAYERS)
SEEDS = needle_race.SEEDS[:3]


def build_family(base: ModelConfig, kind: str, seed: int) -> DecoderLM:
    """Build one variant, with as many parameters as "diff", or nearly.

    Every weight whose name and shape also occur in "diff" has the initial
    value that it has there for this seed. Raises ValueError for an unknown
    variant.
    """
    if kind not in FAMILY:
        raise ValueError(
            f"kind: got {kind!r}, expected one of {', '.join(FAMILY)}"
        )
    diff = build_kind(base, "diff", seed)
    width = diff.blocks[0].ffn.gate_proj.out_features
    with torch.device("meta"):
        saved = (
            diff.num_parameters() - _build(base, kind, width).num_parameters()
        )
    # A channel of the feed-forward layer has 3 E weights, in each layer.
    saved //= 3 * base.embed_dim * base.num_layers
    torch.manual_seed(seed)
    model = _build(base, kind, width + 8 * round(saved / 8))
    shared, own = diff.state_dict(), model.state_dict()
    agreed = {
        name: shared[name]
        for name, value in own.items()
        if name in shared and shared[name].shape == value.shape
    }
    model.load_state_dict(own | agreed)
    return model


def _build(base: ModelConfig, kind: str, ffn_dim: int) -> DecoderLM:
    attention = "diff_v2" if kind == "V2" else "diff"
    config = replace(base, attention=attention, ffn_dim=ffn_dim)
    model = DecoderLM(config)
    if kind == "V2":
        return model
    heads = config.num_heads if kind == "Cog" else config.heads
    for depth, block in enumerate(model.blocks):
        given = {"norm_eps": config.norm_eps}
        if kind in ("grouped", "DINT"):
            given["depth"] = depth
        block.attention = LAYERS[kind](config.embed_dim, heads, **given)
        for part in block.attention.children():
            torch.nn.init.normal_(part.weight, std=0.02)
    return model


def train_job(job: Job, device: torch.device) -> list[dict[str, Any]]:
    """Train all seeds of one variant on the needle race; a row for each."""
    if device.type == "cpu":
        torch.set_num_threads(1)
    task, base = needle_race.TASK, needle_race.BASE
    models = [
        build_family(base, job["kind"], seed).to(device)
        for seed in job["seeds"]
    ]
    curves = train_stacked(
        models,
        [NeedleTask(**asdict(task) | {"seed": s}) for s in job["seeds"]],
        TrainConfig(**job["config"]),
        progress=False,
    )
    return [
        {
            "seed": seed,
            "parameters": models[i].num_parameters(),
            "valid_loss": round(curves.valid_loss[-1, i].item(), 4),
            **needle_race.measure(models[i]),
        }
        for i, seed in enumerate(job["seeds"])
    ]


def race_jobs() -> list[Job]:
    """Return a job for each variant, with the settings of needle_race.py."""
    jobs = needle_race.race_jobs(FAMILY)
    return [job | {"seeds": list(SEEDS)} for job in jobs]


def rate_jobs() -> list[Job]:
    """Return jobs of V2 and Cog at two other rates."""
    return [
        job | {"config": job["config"] | {"lr": rate}}
        for job in race_jobs()
        if job["kind"] in ("V2", "Cog")
        for rate in (1e-3, 1e-2)
    ]


def main() -> None:
    """Train the variants that are not in the record yet."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("what", choices=["race", "rates"])
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=1e9)
    parser.add_argument("--quick", action="store_true", help="only try it")
    options = parser.parse_args()
    jobs = race_jobs() if options.what == "race" else rate_jobs()
    if options.quick:
        few = {"steps": 4, "warmup_steps": 1, "eval_every": 4}
        jobs = [
            job | {"seeds": [0], "config": job["config"] | few} for job in jobs
        ]
    run_jobs(
        train_job,
        jobs,
        options.out,
        {
            "what": f"needle {options.what} of the family, 400 steps, small",
            "base": needle_race.BASE.to_dict(),
            "task": needle_race.TASK.describe(),
        },
        device=options.device,
        minutes=options.minutes,
    )


if __name__ == "__main__":
    main()
