"""Train one model of the shipped pair, plain or differential.

    python book/recipes/train_pair.py softmax --device cuda
    python book/recipes/train_pair.py diff --device cuda

Both are equal in width, depth, data, steps and seed, and differ by 6 head
widths a layer. They read the Python source of the standard library and of
installed packages whose licence is permissive; a quarter of the rows are
needle tasks with token ids of their own. The first of the two commands builds
the token files, runs/pair/tokens, and the second one reads the same: carry
that folder along to train on another machine.

Leaves in book/: weights/pair_KIND.safetensors (bfloat16), the tokenizer
weights/pair_tokenizer.json, weights/pair_licences.json with every package that
was read, and results/train_pair_KIND.json. A run that was stopped goes on when
the command is given again.
"""

import argparse
import json
import shlex
import shutil
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import minidiff
from minidiff import DecoderLM, ModelConfig
from minidiff.data import (
    BPETokenizer,
    Corpus,
    Mixture,
    NeedleTask,
    TokenData,
    standard_library,
    write_tokens,
)
from minidiff.data.corpus import joined as joined_corpus
from minidiff.data.packages import installed_packages, library_entry
from minidiff.data.token_files import is_tokens
from minidiff.provenance import provenance, write_json
from minidiff.train import Compute, TrainConfig, evaluate, train
from minidiff.world import joined, together, world

ROOT = Path(__file__).resolve().parents[2]
SEED = 0
VOCAB = 2048  # of the text; a small model should not be mostly embedding
MOST_BYTES = 8_000_000


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How large everything is."""

    model: dict[str, int]
    needles: NeedleTask
    share: float
    config: TrainConfig


FULL = Plan(
    model={
        "embed_dim": 256,
        "num_layers": 4,
        # 8 differential heads: as few as the authors advise.
        "num_heads": 16,
        "max_length": 512,
    },
    needles=NeedleTask(needles=8, questions=24, length=512, seed=SEED),
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
    model=FULL.model | {"embed_dim": 32, "num_layers": 1, "max_length": 64},
    needles=replace(FULL.needles, needles=2, questions=4, length=64),
    share=FULL.share,
    config=replace(
        FULL.config,
        steps=6,
        batch_size=8,
        warmup_steps=2,
        eval_every=3,
        eval_batches=1,
        checkpoint_every=3,
    ),
)


def corpus(quick: bool) -> tuple[Corpus, list[dict[str, Any]]]:
    """Everything that is read, and the list of whose it is."""
    library = standard_library()
    if quick:
        library = replace(
            library, train=library.train[:40], valid=library.valid[:10]
        )
        return library, [library_entry(library)]
    packages, entries = installed_packages()
    return joined_corpus(library, packages), [library_entry(library), *entries]


def build_tokens(folder: Path, quick: bool) -> None:
    """Tokenize the corpus, once for both models."""
    texts, entries = corpus(quick)
    tokenizer = BPETokenizer.train((d.text for d in texts.train), VOCAB)
    about = {"source": "Python source", "packages": entries}
    write_tokens(
        folder, texts.texts(), tokenizer, about=about, size=texts.size
    )


def ship(model: DecoderLM, path: Path) -> DecoderLM:
    """Write a model's weights as bfloat16; return it as it is read again."""
    path.parent.mkdir(parents=True, exist_ok=True)
    small = DecoderLM(model.config)
    small.load_state_dict(model.state_dict())
    minidiff.save(small.bfloat16(), path)
    if path.stat().st_size > MOST_BYTES:
        raise ValueError(f"{path}: more than {MOST_BYTES} bytes")
    return minidiff.load(path)


def measure(model: DecoderLM, data: Mixture) -> dict[str, Any]:
    """Loss and accuracy on text and on needles, each by itself."""
    found = {}
    for name, part in (("text", data.text), ("recall", data.recall)):
        result = evaluate(model, part, batches=8, batch_size=32)._asdict()
        found[name] = {key: round(value, 4) for key, value in result.items()}
    chance = data.recall.needles.chance._asdict()
    found["recall"]["chance"] = {k: round(v, 4) for k, v in chance.items()}
    return found


def curve(log: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A hundred points of the training loss, each a mean of what it ends."""
    rows = []
    for part in np.array_split(np.arange(len(log)), min(100, len(log))):
        last = log[part[-1]]
        loss = np.mean([log[i]["loss"] for i in part])
        rows.append({"tokens": last["tokens"], "loss": round(float(loss), 4)})
        if "valid_loss" in last:
            rows[-1]["valid_loss"] = round(last["valid_loss"], 4)
    return rows


def main() -> None:
    """Train one model; the first process writes what is shipped."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("attention", choices=["softmax", "diff"])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--quick", metavar="FOLDER", help="only try it, there")
    options = parser.parse_args()
    with joined(torch.device(options.device)) as device:
        run_one(options.attention, device, options.quick)


def run_one(attention: str, device: torch.device, quick: str | None) -> None:
    """Do one process's part of the run."""
    plan = QUICK if quick else FULL
    runs = Path(quick) if quick else ROOT / "runs" / "pair"
    book = Path(quick) if quick else ROOT / "book"
    tokens, run = runs / "tokens", runs / attention
    with together():
        if world().first and not is_tokens(tokens):
            build_tokens(tokens, bool(quick))
    text = TokenData(tokens, length=plan.needles.length, seed=SEED)
    data = Mixture(text, plan.needles, share=plan.share)
    config = replace(
        plan.config,
        precision="bfloat16" if device.type == "cuda" else "float32",
    )
    torch.manual_seed(SEED)
    model = DecoderLM(
        ModelConfig(
            **plan.model, vocab_size=data.vocab_size, attention=attention
        )
    ).to(device)
    compute = Compute(compile=device.type == "cuda")
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
    shipped = ship(model, book / "weights" / f"pair_{attention}.safetensors")
    card = text.card["about"]
    write_json(book / "weights" / "pair_licences.json", card)
    shutil.copyfile(
        tokens / "tokenizer.json", book / "weights" / "pair_tokenizer.json"
    )
    command = shlex.join(["python", *sys.argv])
    record = {
        "what": "a small model of Python source and needle recall",
        "provenance": provenance(str(device), command),
        "processes": world().size,
        "model": shipped.config.to_dict(),
        "parameters": shipped.num_parameters(),
        "config": asdict(config),
        "data": data.describe(),
        "shipped": measure(shipped, data),
        "curve": curve(log),
    }
    write_json(book / "results" / f"train_pair_{attention}.json", record)
    print(json.dumps(record["shipped"], indent=1))


if __name__ == "__main__":
    main()
