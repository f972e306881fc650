"""Train the shipped plain model on, with and without a second branch.

    python book/recipes/second_branch.py --out book/results/second_branch.json

The plain model of book/weights and the differential model that
``add_second_branch`` makes of it read the same rows of Python's standard
library, two seeds of rows at two rates. About ten minutes on one CPU core; a
small run that shows a beginning, not a result about quality. Measured before
and after: the loss on held-out rows, the support of the maps (the exp of the
entropy of their absolute weights, in keys) and their negative mass (the share
of absolute weight that is negative), by layer, mean over heads and queries.
"""

import argparse
import copy
import hashlib
from pathlib import Path
from typing import Any

import torch
from jobs import Job, run_jobs
from torch import Tensor

from minidiff import DecoderLM, course, load
from minidiff.convert.second_branch import add_second_branch
from minidiff.data import BPETokenizer, TextData, standard_library

WEIGHTS = "pair_softmax.safetensors"
SETTINGS = {"steps": 60, "warmup": 10, "batch": 4, "length": 256}
RATES, SEEDS = (1e-4, 3e-4), (0, 1)
FILES = {"train": 120, "valid": 25}


def text(config: Any, length: int, seed: int) -> TextData:
    """Return rows of the standard library in the shipped pair's tokens."""
    coder = BPETokenizer.load(course.weights("pair_tokenizer.json"))
    library = standard_library()
    sides = [
        torch.tensor(coder.encode("\n\n".join(d.text for d in documents[:n])))
        for documents, n in (
            (library.train, FILES["train"]),
            (library.valid, FILES["valid"]),
        )
    ]
    return TextData(
        *sides, vocab_size=config.vocab_size, length=length, seed=seed
    )


@torch.no_grad()
def measure(model: DecoderLM, data: TextData) -> dict[str, Any]:
    """Return the loss of 32 held-out rows, and the maps of two of them."""
    rows = [data.batch(i, 8, "valid") for i in range(4)]
    loss = sum(model.loss(*row).item() for row in rows) / len(rows)
    _, maps = model(rows[0][0][:2], return_maps=True)
    by_layer = [shape(getattr(m, "A", m)) for m in maps]
    return {
        "valid_loss": round(loss, 4),
        "support": [round(s, 3) for s, _ in by_layer],
        "negative": [round(n, 5) for _, n in by_layer],
    }


def shape(A: Tensor) -> tuple[float, float]:
    """Return support (keys) and negative mass of a map (B, H, T, S)."""
    share = A.abs() / A.abs().sum(-1, keepdim=True)
    support = torch.special.entr(share).sum(-1).exp().mean()
    return support.item(), share[A < 0].sum().item() / share.sum().item()


def train_job(job: Job, device: torch.device) -> list[dict[str, Any]]:
    """Train one model on; return one row."""
    torch.set_num_threads(1)
    plain = load(course.weights(WEIGHTS))
    model = copy.deepcopy(plain)
    if job["kind"] == "second branch":
        model = add_second_branch(plain)
    model.to(device)
    data = text(plain.config, job["length"], job["seed"])
    before, losses = measure(model, data), []
    optimizer = torch.optim.AdamW(model.parameters())
    for step in range(job["steps"]):
        share = min(1, (step + 1) / job["warmup"])
        optimizer.param_groups[0]["lr"] = job["rate"] * share
        optimizer.zero_grad()
        loss = model.loss(*data.batch(step, job["batch"]))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(round(loss.item(), 4))
    return [
        {
            "parameters": model.num_parameters(),
            "before": before,
            "after": measure(model, data),
            "train_loss": losses,
        }
    ]


def continued_jobs() -> list[Job]:
    """Return a job for each kind, rate and seed."""
    return [
        SETTINGS | {"kind": kind, "rate": rate, "seed": seed}
        for rate in RATES
        for seed in SEEDS
        for kind in ("plain", "second branch")
    ]


def main() -> None:
    """Train what is not in the record yet."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=1e9)
    parser.add_argument("--quick", action="store_true", help="only try it")
    options = parser.parse_args()
    jobs = continued_jobs()
    if options.quick:
        jobs = [job | {"steps": 2, "length": 32} for job in jobs[:2]]
    weights = course.weights(WEIGHTS).read_bytes()
    run_jobs(
        train_job,
        jobs,
        options.out,
        {
            "what": "the shipped plain model trained on, small",
            "weights": hashlib.sha256(weights).hexdigest(),
        },
        device="cpu",
        minutes=options.minutes,
    )


if __name__ == "__main__":
    main()
