"""Train the pair, and the pool: 15 M parameters, six kinds, five seeds.

    python book/recipes/pool.py lookup --tokens data/evidence_2048 \
        --archives data/archives --device cuda \
        --out book/results/lookup.json
    python book/recipes/pool.py pair --tokens data/evidence_2048 \
        --archives data/archives --device cuda \
        --weights runs/pair --out book/results/pair.json
    python book/recipes/pool.py main --tokens data/evidence \
        --archives data/archives --device cuda \
        --pilot book/results/text_pilot.json --weights runs/pool \
        --out book/results/pool.json
    python book/recipes/pool.py extend --tokens data/evidence \
        --archives data/archives --device cuda \
        --pilot book/results/text_pilot.json --weights runs/pool \
        --out book/results/pool_long.json

The mixture is in evidence_data.py, the measures are in pool_measures.py. The
pool has a rate for each kind, from the pilot of text.py, whose models are as
wide; and it is trained on 66 million tokens, as many as the pair. "extend"
takes the models "plain", "wide" and "diff" of the pool, seeds 0 to 2, and
trains them on for long texts: see long_context.py. Models that are not in
``--weights`` are trained first, as in "main", but not measured. (Planned were
five seeds. Weights are too large to commit, and half an hour of a GPU is
enough for three.)
Fixed before the main run:

primary metrics: loss on validation text in nats per token; accuracy with
    N = 6 needles of which R = 2 are asked; best minus worst accuracy over ten
    random orders of the demonstrations; share of answers from another
    document in scenes of several documents;
primary contrasts: "diff" minus "plain", and "diff" minus "sum" as a control,
    paired by seed, with a 95 % interval by Student's t over the seeds.

A model needs about 130 kB of activations per token: 4 GB for 64 rows of 512
tokens and the same for 16 rows of 2,048, because the fused kernels do not
store attention maps. So five seeds fit on a GPU of 80 GB.

Each model is saved to the folder ``--weights``, in a file named by kind and
seed: 60 MB each, too large to commit.

The models of the pair are smaller: 4 M parameters, saved as bfloat16, at most
8 MB each, so the vocabulary of their text has only 2,048 ids. Eight seeds of
both kinds are trained. The shipped seed is the first one, from 0, at which
both models look keys up, with an accuracy of at least 0.9 at the needles of
the validation rows. The folder ``shipped`` in ``--weights`` has the files that
go to book/weights.

How the pair's training was found: in these runs a model learns to look keys up
in its first 3,000 steps or not at all. "lookup" compared two curricula of the
needle task at two rates, on two seeds that are not reported: at a rate of
0.002 all eight models learned it, at half of it one of eight (lookup.json).
With this rate and the first curriculum, none of eight models learned it from
64 rows a batch in 8,000 steps (pair_64_rows.json), one of eight from 32 rows
in 12,000 steps, whose curriculum is three times as slow
(pair_12000_steps.json), and four of eight, all of them plain, in 4,000 steps
(pair_dense_longer.json). With the second curriculum, below, it was 14 of 16.
"""

import argparse
import json
import shutil
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch
from evidence_data import CANDIDATES, FULL, QUICK, Rows, evidence_data
from jobs import Job, rows, run_jobs
from long_context import FULL as FULL_LONG
from long_context import QUICK as QUICK_LONG
from long_context import extend, measure_long
from pool_measures import measure
from text import backend, best_rates

import minidiff
from minidiff import DecoderLM, ModelConfig, TrainConfig
from minidiff.data.token_files import TOKENIZER_NAME, open_tokens
from minidiff.data.tokenizers import BPETokenizer
from minidiff.files.json import write_json
from minidiff.nn.kinds import KINDS, build_kind, six_kinds
from minidiff.training.stacked.train import Curves, train_stacked

SEEDS = (0, 1, 2, 3, 4)
EXTENDED, EXTENDED_SEEDS = ("diff", "plain", "wide"), (0, 1, 2)
CONFIG = TrainConfig(
    steps=4_000,  # 66 million tokens, less than an epoch of the text
    batch_size=32,
    warmup_steps=150,
    eval_every=200,
    eval_batches=8,
    precision="bfloat16",
)
CURRICULUM = "many first"
SIZES = {"embed_dim": 512, "num_layers": 4, "num_heads": 16}  # H = 8, D = 32
PAIR_SIZES = SIZES | {"embed_dim": 256}  # D = 16
PAIR_SEEDS, PAIR_RATE = (0, 1, 2, 3, 4, 5, 6, 7), 2e-3
LOOKUP_RATES, LOOKUP_SEEDS = (1e-3, 2e-3), (100, 101)
LOOKED_UP, MOST_BYTES = 0.9, 8_000_000
SHIPPED = {"plain": "pair_softmax", "diff": "pair_diff"}  # names in the book


def base_config(job: Job, vocab_size: int) -> ModelConfig:
    """Return the configuration that all kinds share."""
    row = job_rows(job)
    return ModelConfig(
        vocab_size=vocab_size,
        max_length=row.times * row.length,
        **job["sizes"],
    )


def job_rows(job: Job) -> Rows:
    """Return the rows that a job trains on."""
    return QUICK if job["quick"] else FULL


def train_job(
    job: Job,
    device: torch.device,
    *,
    tokens: str,
    archives: str | None,
    weights: Path | None,
    dtype: torch.dtype,
) -> list[dict[str, Any]]:
    """Train, save and measure the models of one kind.

    They are saved in ``dtype``, unless ``weights`` is None.
    """
    gpu = device.type == "cuda"
    config = TrainConfig(**job["config"])
    data = {
        (stages, seed): evidence_data(
            tokens,
            archives,
            job_rows(job),
            steps=config.steps,
            seed=seed,
            stages=stages,
        )
        for stages in job["curricula"]
        for seed in job["seeds"]
    }
    each = [(key, rate) for key in data for rate in job["rates"]]
    sources = [data[key] for key, _ in each]
    parts = sources[0].short.sources
    base = base_config(job, sources[0].vocab_size)
    models = [
        build_kind(base, job["kind"], seed).to(device) for (_, seed), _ in each
    ]
    curves = train_stacked(
        models,
        sources,
        config,
        [rate for _, rate in each],
        parts=parts,
        backend=backend(job["kind"], device),
        compile=gpu,
        workers=6 if gpu else 0,
        progress=False,
    )
    if weights is not None:  # first, in case the time ends while measuring
        for model, ((_, seed), _) in zip(models, each, strict=True):
            save(model, weight_path(weights, job["kind"], seed), dtype)
    found = [
        {
            "rate": rate,
            "seed": seed,
            "curriculum": stages,
            "parameters": model.num_parameters(),
            **results(curves, i),
        }
        for i, (model, ((stages, seed), rate)) in enumerate(
            zip(models, each, strict=True)
        )
    ]
    if job["measure"]:
        tokenizer = BPETokenizer.load(f"{tokens}/{TOKENIZER_NAME}")
        for row, model, source in zip(found, models, sources, strict=True):
            row |= measure(model, source, tokenizer, job["measure"])
    return found


def extend_job(
    job: Job,
    device: torch.device,
    *,
    tokens: str,
    archives: str | None,
    weights: Path,
) -> list[dict[str, Any]]:
    """Train the models of one kind on for long rows, and measure them.

    Models that are not in ``weights`` are trained first.
    """
    paths = [weight_path(weights, job["kind"], seed) for seed in job["seeds"]]
    if not all(path.exists() for path in paths):
        train_job(
            job,
            device,
            tokens=tokens,
            archives=archives,
            weights=weights,
            dtype=torch.float32,
        )
    gpu = device.type == "cuda"
    plan = QUICK_LONG if job["quick"] else FULL_LONG
    data = evidence_data(
        tokens,
        archives,
        job_rows(job),
        steps=job["config"]["steps"],
        seed=job["seeds"][0],
        stages=job["curricula"][0],
    )
    needles = job_rows(job).needles
    models = [minidiff.load(path).to(device) for path in paths]
    longer = extend(
        models,
        job["seeds"],
        job["rates"][0],
        tokens=tokens,
        needles=needles,
        plan=plan,
        backend=backend(job["kind"], device),
        compile=gpu,
        workers=6 if gpu else 0,
    )
    # Every seed's mixture has the needles' ids at the same place.
    first = data.short.sources["needles"].first
    return [
        {
            "seed": seed,
            "long": measure_long(model, tokens, needles, first, plan),
        }
        for seed, model in zip(job["seeds"], longer, strict=True)
    ]


def results(curves: Curves, i: int) -> dict[str, Any]:
    """Return what model i has reached, and its curves on each part."""
    loss, accuracy = curves.parts["text"][:, -1, i].tolist()
    return {
        "valid_loss": round(loss, 5),  # on the text
        "valid_accuracy": round(accuracy, 5),
        "lookup": round(curves.parts["needles"][1, -1, i].item(), 4),
        "steps": curves.eval_steps,
        "parts": {
            name: {
                "loss": [round(x, 4) for x in part[0, :, i].tolist()],
                "accuracy": [round(x, 4) for x in part[1, :, i].tolist()],
            }
            for name, part in curves.parts.items()
        },
    }


def weight_path(folder: Path, kind: str, seed: int) -> Path:
    """Return the path of a model's weights."""
    name = kind.replace(" + ", "_").replace(" ", "_")
    return folder / f"{name}_seed{seed}.safetensors"


def save(model: DecoderLM, path: Path, dtype: torch.dtype) -> None:
    """Write a model in a dtype; the model itself is not changed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    copy = DecoderLM(model.config)
    copy.load_state_dict(model.state_dict())
    minidiff.save(copy.to(dtype), path)


def new_job(kind: str, **fields: Any) -> Job:
    """Make a job, with some fields changed."""
    return {
        "kind": kind,
        "sizes": SIZES,
        "config": asdict(CONFIG),
        "measure": 0,
        "quick": False,
        **fields,
    }


def lookup_jobs() -> list[Job]:
    """Return a job for each kind of the pair: all curricula and rates."""
    return [
        new_job(
            kind,
            curricula=list(CANDIDATES),
            rates=list(LOOKUP_RATES),
            seeds=list(LOOKUP_SEEDS),
            sizes=PAIR_SIZES,
        )
        for kind in SHIPPED
    ]


def main_jobs(pilot: dict[str, Any]) -> list[Job]:
    """Return a job for each kind at its rate, those of the contrasts first."""
    best = best_rates(pilot)
    first = ["diff", "plain", "sum"]
    return [
        new_job(
            kind,
            rates=[best[kind]],
            curricula=[CURRICULUM],
            seeds=list(SEEDS),
            measure=256,
        )
        for kind in first + [kind for kind in KINDS if kind not in first]
    ]


def extend_jobs(pilot: dict[str, Any]) -> list[Job]:
    """Return the jobs of the main run whose models are extended."""
    jobs = {job["kind"]: job for job in main_jobs(pilot)}
    changed = {"measure": 0, "seeds": list(EXTENDED_SEEDS)}
    return [jobs[kind] | changed for kind in EXTENDED]


def pair_jobs() -> list[Job]:
    """Return the jobs of the pair: both kinds, eight seeds."""
    return [
        new_job(
            kind,
            rates=[PAIR_RATE],
            curricula=[CURRICULUM],
            seeds=list(PAIR_SEEDS),
            sizes=PAIR_SIZES,
            measure=256,
        )
        for kind in SHIPPED
    ]


def shipped_seed(record: dict[str, Any]) -> int | None:
    """Return the first seed at which both kinds look keys up, or None."""
    lookup = {(r["kind"], r["seed"]): r["lookup"] for r in rows(record)}
    for seed in sorted({seed for _, seed in lookup}):
        if all(lookup.get((k, seed), 0) >= LOOKED_UP for k in SHIPPED):
            return seed
    return None


def ship(seed: int, weights: Path, tokens: str) -> None:
    """Copy the files for book/weights into a folder of their own."""
    folder = weights / "shipped"
    folder.mkdir(exist_ok=True)
    for kind, name in SHIPPED.items():
        path = weight_path(weights, kind, seed)
        if path.stat().st_size > MOST_BYTES:
            raise ValueError(
                f"{path}: got {path.stat().st_size} bytes, expected at most "
                f"{MOST_BYTES}: use token files of fewer ids"
            )
        shutil.copyfile(path, folder / f"{name}.safetensors")
    shutil.copyfile(
        f"{tokens}/{TOKENIZER_NAME}", folder / "pair_tokenizer.json"
    )
    card, _ = open_tokens(tokens)
    write_json(folder / "pair_licences.json", card["about"])


def quick(job: Job) -> Job:
    """Shrink a job to seconds on a CPU, only to test the recipe."""
    steps = {"steps": 10, "warmup_steps": 1, "eval_every": 5}
    small = {"batch_size": 2, "eval_batches": 1, "precision": "float32"}
    sizes = {"embed_dim": 32, "num_layers": 1, "num_heads": 4}
    return job | {
        "sizes": sizes,
        "seeds": job["seeds"][:2],
        "quick": True,
        "measure": min(job["measure"], 2),
        "config": job["config"] | steps | small,
    }


MAKE = {"main": main_jobs, "extend": extend_jobs}
WITH_WEIGHTS = ("pair", *MAKE)


def main() -> None:
    """Run one of the four experiments."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("what", choices=["lookup", *WITH_WEIGHTS])
    parser.add_argument("--tokens", required=True, help="the token folder")
    parser.add_argument("--archives", help="the archive folder")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--pilot", type=Path, help="record of text.py's pilot")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--weights", type=Path, help="folder of the models")
    parser.add_argument("--minutes", type=float, default=1e9)
    parser.add_argument("--quick", action="store_true", help="only try it")
    options = parser.parse_args()
    kept = options.what in WITH_WEIGHTS
    if options.archives is None and not options.quick:
        parser.error("--archives: the fact book is read from there")
    if kept and options.weights is None:
        parser.error("--weights: the models are measured later")
    if options.what in MAKE and options.pilot is None:
        parser.error("--pilot: the rates are taken from this record")
    if options.what in MAKE:
        pilot = json.loads(options.pilot.read_text(encoding="utf-8"))
        jobs = MAKE[options.what](pilot)
    else:
        jobs = lookup_jobs() if options.what == "lookup" else pair_jobs()
    if options.quick:
        jobs = [quick(job) for job in jobs]
    data = evidence_data(
        options.tokens,
        options.archives,
        job_rows(jobs[0]),
        steps=jobs[0]["config"]["steps"],
        seed=0,
        stages=jobs[0]["curricula"][0],
    )
    kinds = six_kinds(base_config(jobs[0], data.vocab_size))
    given = {
        "tokens": options.tokens,
        "archives": options.archives,
        "weights": options.weights if kept else None,
    }
    shipped = torch.bfloat16 if options.what == "pair" else torch.float32
    run_jobs(
        partial(extend_job, **given)
        if options.what == "extend"
        else partial(train_job, dtype=shipped, **given),
        jobs,
        options.out,
        {
            "what": f"the mixture, {options.what}",
            "kinds": {kind: c.to_dict() for kind, c in kinds.items()},
            "data": data.describe(),
        },
        device=options.device,
        minutes=options.minutes,
    )
    record = json.loads(options.out.read_text(encoding="utf-8"))
    if options.what == "pair":
        seed = shipped_seed(record)
        print(f"shipped seed: {seed}")
        if seed is not None:
            ship(seed, options.weights, options.tokens)


if __name__ == "__main__":
    main()
