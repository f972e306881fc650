"""Train one model of the course's first pair, plain or differential.

    python book/recipes/train_pair.py softmax --device cuda --seed 0
    python book/recipes/train_pair.py diff --device cuda --seed 0

The models in book/weights are others: pool.py trains them. Of the first pair
the records remain, book/results/train_pair_KIND_seedN.json, which chapter 19
reads. Some of these models look keys up and some do not, even two of the same
kind and seed: on a GPU such runs differ.

Both models of a pair have the same width, depth, data, steps and seed; their
parameters differ by 6 head widths per layer. They are trained on the Python
source of the standard library and of installed packages with a permissive
licence; a quarter of the rows are needle tasks with their own token ids. The
first of the two commands builds the token files in the folder of --out, and
the second one uses them. To train on another machine, copy them.

Writes to the folder of --out: the token files, with the tokenizer and a list
of every package that was read; and for each model a run folder, its weights
as bfloat16, and the record. To resume a run that was stopped, give the command
again. The records *_before.json come from an earlier run of the same commands
on another machine of the same kind; they were assembled from its logs and
printed output.
"""

import argparse
import json
import shlex
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import minidiff
from minidiff import (
    Compute,
    DecoderLM,
    ModelConfig,
    TrainConfig,
    train,
)
from minidiff.data import (
    BPETokenizer,
    Corpus,
    Mixture,
    NeedleTask,
    Part,
    TokenData,
    standard_library,
    write_tokens,
)
from minidiff.data.corpus import joined as joined_corpus
from minidiff.data.packages import installed_packages, library_entry
from minidiff.data.token_files import is_tokens
from minidiff.files.json import write_json
from minidiff.files.provenance import provenance
from minidiff.training.distributed import joined, together, world
from minidiff.training.validation import validate

OUT = Path(__file__).resolve().parents[2] / "runs" / "first_pair"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Sizes of the models, the data and the training."""

    vocab: int  # of the text; small, or the model is mostly embedding
    model: dict[str, int]
    needles: NeedleTask
    share: float
    config: TrainConfig


FULL = Plan(
    vocab=2048,
    model={
        "embed_dim": 256,
        "num_layers": 4,
        # 8 differential heads, the fewest that the authors advise.
        "num_heads": 16,
        "max_length": 512,
    },
    # Many questions, or the answers would add almost nothing to the loss.
    needles=NeedleTask(needles=8, questions=96, length=512),
    share=0.25,
    config=TrainConfig(
        steps=8000,  # 262 million tokens
        batch_size=64,
        lr=2e-3,
        warmup_steps=200,
        eval_every=200,
        checkpoint_every=500,
    ),
)
QUICK = Plan(
    vocab=1024,
    model={
        "embed_dim": 32,
        "num_layers": 1,
        "num_heads": 8,
        "max_length": 64,
    },
    needles=NeedleTask(needles=2, questions=4, length=64),
    share=FULL.share,
    config=TrainConfig(
        steps=6,
        batch_size=8,
        lr=2e-3,
        warmup_steps=2,
        eval_every=3,
        eval_batches=1,
        checkpoint_every=3,
    ),
)


def corpus(quick: bool) -> tuple[Corpus, list[dict[str, Any]]]:
    """Read all text; return it with the list of its packages."""
    library = standard_library()
    if quick:
        library = replace(
            library, train=library.train[:40], valid=library.valid[:10]
        )
        return library, [library_entry(library)]
    packages, entries = installed_packages()
    return joined_corpus(library, packages), [library_entry(library), *entries]


def build_tokens(folder: Path, vocab: int, quick: bool) -> None:
    """Tokenize the corpus, once for both models."""
    texts, entries = corpus(quick)
    tokenizer = BPETokenizer.train((d.text for d in texts.train), vocab)
    about = {"source": "Python source", "packages": entries}
    write_tokens(
        folder, texts.texts(), tokenizer, about=about, size=texts.size
    )


def rounded(model: DecoderLM, path: Path) -> DecoderLM:
    """Write a model's weights as bfloat16; return the model read back."""
    small = DecoderLM(model.config)
    small.load_state_dict(model.state_dict())
    minidiff.save(small.bfloat16(), path)
    return minidiff.load(path)


def measure(
    model: DecoderLM, data: Mixture, needles: NeedleTask
) -> dict[str, Any]:
    """Measure loss and accuracy on text and on needles separately."""
    found = {}
    needle_rows = data.sources["needles"]
    for name, part in (("text", data.text), ("recall", needle_rows)):
        result = validate(model, part, batches=8, batch_size=32)._asdict()
        found[name] = {key: round(value, 4) for key, value in result.items()}
    chance = needles.chance._asdict()
    found["recall"]["chance"] = {k: round(v, 4) for k, v in chance.items()}
    return found


def read(data: Mixture, config: TrainConfig) -> dict[str, Any]:
    """Return the size of the text, and how much of it the training reads."""
    rows = [
        (data.kinds(step, config.batch_size) == 0).sum().item()
        for step in range(config.steps)
    ]
    text = data.text
    passed = config.steps * config.batch_size  # replaced rows too
    return {
        "train_tokens": text.size("train"),
        "valid_tokens": text.size("valid"),
        "text_tokens_read": sum(rows) * text.length,
        "epochs": round(passed / text.windows("train"), 4),
    }


def curve(log: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return a hundred points of the training loss, means over their part."""
    rows = []
    for part in np.array_split(np.arange(len(log)), min(100, len(log))):
        last = log[part[-1]]
        loss = np.mean([log[i]["loss"] for i in part])
        rows.append({"tokens": last["tokens"], "loss": round(float(loss), 4)})
        if "valid_loss" in last:
            rows[-1]["valid_loss"] = round(last["valid_loss"], 4)
    return rows


def main() -> None:
    """Train one model; the first process writes weights and record."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("attention", choices=["softmax", "diff"])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="only try it")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    if options.quick and options.out == OUT:
        parser.error("--quick: expected --out, a folder to try it in")
    with joined(torch.device(options.device)) as device:
        run_one(options, device)


def run_one(options: argparse.Namespace, device: torch.device) -> None:
    """Do one process's part of the run."""
    attention, seed, quick = options.attention, options.seed, options.quick
    gpu = device.type == "cuda"
    plan = QUICK if quick else FULL
    name = f"{attention}_seed{seed}"
    tokens, run = options.out / "tokens", options.out / name
    with together():
        if world().first and not is_tokens(tokens):
            build_tokens(tokens, plan.vocab, quick)
    text = TokenData(tokens, length=plan.needles.length, seed=seed)
    needles = replace(plan.needles, seed=seed)
    data = Mixture(text, seed=seed, needles=Part(needles, plan.share))
    config = replace(
        plan.config,
        precision="bfloat16" if gpu else "float32",
    )
    torch.manual_seed(seed)
    model = DecoderLM(
        ModelConfig(
            **plan.model, vocab_size=data.vocab_size, attention=attention
        )
    ).to(device)
    compute = Compute(compile=gpu)
    log = train(
        model,
        data,
        config,
        compute=compute,
        run_dir=run,
        resume=run.exists(),
    )
    if not world().first:
        return
    shipped = rounded(model, options.out / f"{name}.safetensors")
    command = shlex.join(["python", *sys.argv])
    record = {
        "what": "a small model of Python source and needle recall",
        "provenance": provenance(str(device), command),
        "processes": world().size,
        "seed": seed,
        "model": shipped.config.to_dict(),
        "parameters": shipped.num_parameters(),
        "config": asdict(config),
        "data": data.describe(),
        "text": read(data, config),
        "shipped": measure(shipped, data, needles),
        "first_losses": [row["loss"] for row in log[:8]],
        "curve": curve(log),
    }
    write_json(options.out / f"train_pair_{name}.json", record)
    print(json.dumps(record["shipped"], indent=1))


if __name__ == "__main__":
    main()
