"""What the commands of the command line do."""

import argparse
import json
from pathlib import Path
from typing import Any

# The rest of the package is imported where it is used: PyTorch takes a
# second to load, and --help should not.

RUN_NAME = "run.json"
TOKENIZER_NAME = "tokenizer.json"


def train(arguments: argparse.Namespace) -> None:
    """Train a model and keep it in a run folder, or go on with a run."""
    import torch

    from minidiff.model import DecoderLM, ModelConfig
    from minidiff.provenance import provenance, write_json
    from minidiff.train import TrainConfig
    from minidiff.train import train as run

    out = Path(arguments.out)
    settings = _settings(arguments, out)
    config = TrainConfig(
        steps=settings["steps"],
        batch_size=settings["batch_size"],
        lr=settings["lr"],
        warmup_steps=min(TrainConfig.warmup_steps, settings["steps"]),
    )
    device = _device(settings["device"])
    data = _data(settings, out)
    model_config = ModelConfig(
        vocab_size=data.vocab_size,
        embed_dim=settings["width"],
        num_layers=settings["layers"],
        num_heads=settings["heads"],
        attention=settings["attention"],
        max_length=settings["length"],
    )
    torch.manual_seed(settings["seed"])
    model = DecoderLM(model_config).to(device)
    if not arguments.resume:
        card = provenance(settings["device"], arguments.command)
        write_json(out / RUN_NAME, {**card, "settings": settings})
    print(
        f"{settings['attention']}: {model.num_parameters():,} parameters, "
        f"{config.steps} steps of {config.batch_size} x "
        f"{settings['length']} tokens on {device}"
    )
    log = run(model, data, config, run_dir=out, resume=arguments.resume)
    last = log[-1]
    print(
        f"validation loss {last['valid_loss']:.4f}, accuracy "
        f"{last['valid_accuracy']:.3f}; the run is in {out}"
    )
    if settings["data"] == "needles":
        print(
            f"guessing among the needles: loss {data.chance.loss:.4f}, "
            f"accuracy {data.chance.accuracy:.3f}"
        )


def _settings(arguments: argparse.Namespace, out: Path) -> dict[str, Any]:
    """Return the options that make the run; on resuming, the run's own."""
    names = [
        *("data", "tokenizer", "vocab_size", "length", "needles", "seed"),
        *("attention", "width", "layers", "heads"),
        *("steps", "batch_size", "lr", "device"),
    ]
    given = {name: getattr(arguments, name) for name in names}
    if not arguments.resume:
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise ValueError(
                f"--out: {out} is not empty, expected a new folder, or "
                "--resume to go on with the run in it"
            )
        if given["data"] not in ("stdlib", "needles"):
            given["data"] = str(Path(given["data"]).expanduser().resolve())
        return given
    saved = read_card(out)["settings"]
    for name in names:
        typed = given[name] != arguments.default_of(name)
        if typed and given[name] != saved[name]:
            raise ValueError(
                f"--{name.replace('_', '-')}: got {given[name]!r}, expected "
                f"{saved[name]!r} as in the run to resume, or nothing"
            )
    return saved


def _data(settings: dict[str, Any], out: Path) -> Any:
    from minidiff.data import (
        BPETokenizer,
        ByteTokenizer,
        NeedleTask,
        TextData,
        read_folder,
        standard_library,
    )

    if settings["data"] == "needles":
        return NeedleTask(
            needles=settings["needles"],
            length=settings["length"],
            seed=settings["seed"],
        )
    if settings["data"] == "stdlib":
        corpus = standard_library()
    else:
        corpus = read_folder(settings["data"])
    if corpus.skipped:
        print(
            f"skipped {len(corpus.skipped)} files that are not UTF-8 text, "
            f"such as {corpus.skipped[0]}"
        )
    tokenizer = ByteTokenizer()
    if settings["tokenizer"] == "bpe":
        path = out / TOKENIZER_NAME
        if path.exists():
            tokenizer = BPETokenizer.load(path)
        else:
            texts = (document.text for document in corpus.train)
            tokenizer = BPETokenizer.train(texts, settings["vocab_size"])
            out.mkdir(parents=True, exist_ok=True)
            tokenizer.save(path)
    return TextData.from_corpus(
        corpus, tokenizer, length=settings["length"], seed=settings["seed"]
    )


def generate(arguments: argparse.Namespace) -> None:
    """Print a prompt and what the model of a run makes of it."""
    import torch

    from minidiff.checkpoint import load
    from minidiff.data import BPETokenizer, ByteTokenizer
    from minidiff.generate import generate as sample

    folder = Path(arguments.folder)
    settings = read_card(folder)["settings"]
    if settings["data"] == "needles":
        raise ValueError(
            f"RUN: {folder} was trained on needles, expected a model of text"
        )
    tokenizer = ByteTokenizer()
    if settings["tokenizer"] == "bpe":
        tokenizer = BPETokenizer.load(folder / TOKENIZER_NAME)
    model = load(folder)
    prompt = tokenizer.encode(arguments.prompt)
    if not prompt:
        raise ValueError(
            "--prompt: got no text, expected one character or more"
        )
    new = arguments.max_new_tokens
    row = sample(
        model,
        torch.tensor([prompt]),
        max_new_tokens=model.config.max_length - len(prompt)
        if new is None
        else new,
        temperature=arguments.temperature,
        top_p=arguments.top_p,
        seed=arguments.seed,
    )
    print(tokenizer.decode(row[0].tolist()))


def bench_attention(arguments: argparse.Namespace) -> None:
    """Time every way to attend; print tables, and keep the record."""
    import torch

    from minidiff.bench.attention import run, shapes

    gpu = torch.cuda.is_available()
    device = _device(arguments.device or ("cuda" if gpu else "cpu"))
    big = device.type == "cuda"
    dtype = arguments.dtype or ("bfloat16" if big else "float32")
    run(
        shapes(
            tokens=arguments.tokens or (16384 if big else 1024),
            hidden=arguments.hidden or (2048 if big else 128),
            widths=arguments.width or ([64, 128] if big else [16]),
            lengths=arguments.length
            or ([4096, 16384, 1024] if big else [128, 512]),
        ),
        device=device,
        dtype=getattr(torch, dtype),
        rounds=arguments.rounds,
        command=arguments.command,
        out=Path(arguments.out) if arguments.out else None,
    )


def check(arguments: argparse.Namespace) -> int:
    """Print a table of the exercises solved in notebooks."""
    from minidiff.check import teacher

    return teacher.main(arguments.notebooks)


def read_card(folder: Path) -> dict[str, Any]:
    """Read a run folder's ``run.json``; ValueError if there is none."""
    path = folder / RUN_NAME
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
        card["settings"]["data"]
    except FileNotFoundError:
        raise ValueError(
            f"RUN: {path} does not exist, expected a folder that "
            "minidiff train made"
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: not a run's card ({error})") from error
    return card


def _device(name: str) -> Any:
    import torch

    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"--device: got {name!r}, expected one this PyTorch can use "
            f"({reason})"
        ) from error
    return device
