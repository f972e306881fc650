"""``minidiff train``: a model, kept in a run folder."""

import argparse
import shlex
from pathlib import Path
from typing import Any

from minidiff.commands.parser import new_parser
from minidiff.commands.runs import RUN_NAME, read_card, run_data, usable_device

EPILOG = """A run folder holds:
  run.json                 settings, versions, device and command
  log.jsonl                one line a step: loss, rate, gradient norm
  checkpoint.safetensors   the weights, and what resuming needs; beside it
                           the checkpoint before, checkpoint.previous...
  tokenizer.json           with --tokenizer bpe

To compare plain and differential attention, run twice and change
--attention (and --out) alone: sizes, data and seeds are then equal. Their
numbers of parameters differ by 6 head widths a layer.

examples:
  minidiff train --data needles --attention softmax --out runs/plain
  minidiff train --data needles --attention diff --out runs/diff
  minidiff train --data ~/texts --tokenizer bpe --out runs/texts
  minidiff train --out runs/texts --resume
"""


def add(subparsers: Any) -> None:
    """Describe the command and its options."""
    train = new_parser(
        subparsers.add_parser,
        name="train",
        help="train a model, or go on with a run",
        description="Train a small decoder and keep it in a run folder.",
        epilog=EPILOG,
    )
    train.set_defaults(run=run, default_of=train.get_default)
    add = train.add_argument
    add("--out", required=True, metavar="RUN", help="the run folder, new")
    add(
        "--resume",
        action="store_true",
        help="go on with the run in --out; its settings are taken from it",
    )
    data = train.add_argument_group("data")
    add = data.add_argument
    add(
        "--data",
        default="stdlib",
        metavar="stdlib|needles|FOLDER",
        help="what to learn: Python's own source (no download), the needle "
        "task, or a folder of text files (default: stdlib)",
    )
    add(
        "--tokenizer",
        choices=["byte", "bpe"],
        default="byte",
        help="byte needs no training; bpe makes rows of text about 3.5 "
        "times shorter (default: byte)",
    )
    add(
        "--vocab-size",
        type=int,
        default=4096,
        help="tokens of bpe; more would be mostly embedding (default: 4096)",
    )
    add(
        "--length",
        type=int,
        default=64,
        help="tokens in a window; time grows with it (default: 64)",
    )
    add(
        "--needles",
        type=int,
        default=2,
        help="hidden pairs in a row of the needle task (default: 2)",
    )
    add(
        "--seed",
        type=int,
        default=0,
        help="of the first weights and of the data (default: 0)",
    )
    model = train.add_argument_group("model")
    add = model.add_argument
    add(
        "--attention",
        choices=["softmax", "diff", "diff_v2"],
        default="diff",
        help="softmax is the plain, matched model (default: diff)",
    )
    add("--width", type=int, default=64, help="E (default: 64)")
    add("--layers", type=int, default=2, help="L (default: 2)")
    add(
        "--heads",
        type=int,
        default=4,
        help="heads of the plain model; diff has half as many (default: 4)",
    )
    loop = train.add_argument_group("training")
    add = loop.add_argument
    add(
        "--steps",
        type=int,
        default=800,
        help="updates; about a minute at these sizes (default: 800)",
    )
    add("--batch-size", type=int, default=32, help="rows (default: 32)")
    add(
        "--lr",
        type=float,
        default=3e-3,
        help="highest learning rate; lower it for a wider model "
        "(default: 0.003)",
    )
    add(
        "--device",
        default="cpu",
        help="cpu, cuda or mps; only cpu resumes bit for bit (default: cpu)",
    )


def run(arguments: argparse.Namespace) -> None:
    """Train a model and keep it in a run folder, or go on with a run."""
    import torch

    from minidiff.model import DecoderLM, ModelConfig
    from minidiff.provenance import provenance, write_json
    from minidiff.stopping import Stopped
    from minidiff.train import TrainConfig
    from minidiff.train import train as fit

    out = Path(arguments.out)
    settings = _settings(arguments, out)
    config = TrainConfig(
        steps=settings["steps"],
        batch_size=settings["batch_size"],
        lr=settings["lr"],
        warmup_steps=min(TrainConfig.warmup_steps, settings["steps"]),
    )
    device = usable_device(settings["device"])
    data = run_data(settings, out)
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
    try:
        log = fit(model, data, config, run_dir=out, resume=arguments.resume)
    except Stopped as stopped:
        command = shlex.join(["minidiff", "train", "--out", arguments.out])
        raise Stopped(f"{stopped}; go on with: {command} --resume") from None
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
