"""``minidiff train``: train a model and save it in a run folder."""

import argparse
import shlex
from dataclasses import fields
from pathlib import Path
from typing import Any

from minidiff.cli.parser import new_parser
from minidiff.cli.runs import RUN_NAME, read_card, run_data, usable_device
from minidiff.cli.train_options import MEANS, WHAT, add_options
from minidiff.files.extras import need

EPILOG = """A run folder holds:
  run.json                 settings, versions, device and command
  log.jsonl                one line a step: loss, rate, gradient norm
  checkpoint.safetensors   the weights, and what resuming needs; beside it
                           the checkpoint before, checkpoint.previous...
  tokenizer.json           where it was trained

To compare plain and differential attention, run twice and change
--attention (and --out) alone: sizes, data and seeds are then equal. Their
numbers of parameters differ by 6 head widths a layer.

examples:
  minidiff train --data needles --attention softmax --out runs/plain
  minidiff train --data needles --attention diff --out runs/diff
  minidiff train --data ~/texts --tokenizer bpe --out runs/texts
  minidiff train --out runs/texts --resume
  torchrun --nproc-per-node 8 -m minidiff train --device cuda
      --precision bfloat16 --compile --parallel fsdp --out runs/large
      on all GPUs of a machine; the batch is shared out among them
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
    add_options(train)


def run(arguments: argparse.Namespace) -> None:
    """Train a model and save it in a run folder, or resume a run."""
    from minidiff.training.distributed import joined

    if arguments.tensorboard:
        need("tensorboardX", "minidiff train --tensorboard")
    out = Path(arguments.out)
    name = arguments.device
    if arguments.resume:
        name = read_card(out)["settings"]["device"]
    with joined(usable_device(name)) as device:
        _train(arguments, out, device)


def _train(arguments: argparse.Namespace, out: Path, device: Any) -> None:
    """Do one process's part of the training, or all of it in one process."""
    import torch

    from minidiff.files.json import write_json
    from minidiff.files.provenance import provenance
    from minidiff.nn.config import ModelConfig
    from minidiff.nn.model import DecoderLM
    from minidiff.training.config import Compute, TrainConfig
    from minidiff.training.distributed import together, world
    from minidiff.training.loop import train as fit
    from minidiff.training.signals import Stopped
    from minidiff.training.threads import use_threads

    me = world()
    with together():
        settings = _settings(arguments, out)
    # The first process goes first, because it builds and saves files that
    # the other processes then read.
    for turn in (True, False):
        with together():
            if me.first == turn:
                data = run_data(settings, out)
    config = TrainConfig(
        steps=settings["steps"],
        batch_size=settings["batch_size"],
        lr=settings["lr"],
        precision=settings["precision"],
        warmup_steps=min(TrainConfig.warmup_steps, settings["steps"]),
    )
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
    size = model.num_parameters()
    compute = Compute(**{f.name: settings[f.name] for f in fields(Compute)})
    part = config.batch_size // (me.size * compute.accumulate)
    threads = _threads(settings, model, part * settings["length"], device)
    if me.first and not arguments.resume:
        card = provenance(str(device), arguments.command)
        card["threads"] = threads
        card |= {"processes": me.size, "settings": settings}
        write_json(out / RUN_NAME, card)
    if me.first:
        print(
            f"{settings['attention']}: {size:,} parameters, {config.steps} "
            f"steps of {config.batch_size} x {settings['length']} tokens on "
            f"{me.size} x {device.type}, {_count_threads(threads)}"
        )
    try:
        with use_threads(threads):
            log = fit(
                model,
                data,
                config,
                compute=compute,
                run_dir=out,
                resume=arguments.resume,
                tensorboard=settings["tensorboard"],
            )
    except Stopped as stopped:
        command = shlex.join(["minidiff", "train", "--out", arguments.out])
        raise Stopped(f"{stopped}; go on with: {command} --resume") from None
    if me.first:
        _report(log[-1], settings, data, out)


def _threads(
    settings: dict[str, Any], model: Any, tokens: int, device: Any
) -> int:
    """Return the requested number of CPU threads, or one that suits."""
    import torch

    from minidiff.training.threads import choose_threads

    if settings["threads"] is not None:
        if settings["threads"] < 1:
            raise ValueError(
                f"--threads: got {settings['threads']}, expected 1 or more"
            )
        return settings["threads"]
    if device.type != "cpu":
        return torch.get_num_threads()
    return choose_threads(model, tokens)


def _count_threads(threads: int) -> str:
    word = "thread" if threads == 1 else "threads"
    return f"{threads} CPU {word} (--threads changes that)"


def _report(
    last: dict[str, Any], settings: dict[str, Any], data: Any, out: Path
) -> None:
    """Print the model's final results and the folder it is in."""
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
    """Return the options that define the run; if resuming, the saved ones."""
    given = {name: getattr(arguments, name) for name in WHAT}
    typed = {
        name: value
        for name in MEANS
        if (value := getattr(arguments, name)) is not None
    }
    if not arguments.resume:
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise ValueError(
                f"--out: {out} is not empty, expected a new folder, or "
                "--resume to go on with the run in it"
            )
        if given["data"] not in ("stdlib", "needles"):
            given["data"] = str(Path(given["data"]).expanduser().resolve())
        return given | MEANS | typed
    saved = read_card(out)["settings"]
    for name in WHAT:
        changed = given[name] != arguments.default_of(name)
        if changed and given[name] != saved[name]:
            raise ValueError(
                f"--{name.replace('_', '-')}: got {given[name]!r}, expected "
                f"{saved[name]!r} as in the run to resume, or nothing"
            )
    return MEANS | saved | typed
