"""``minidiff train``: train a model and save it in a run folder."""

import argparse
import math
import os
import shlex
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from minidiff.cli.devices import usable_device
from minidiff.cli.new_run import check_free, check_new, has_begun, write_start
from minidiff.cli.options import as_options, check_source
from minidiff.cli.parser import new_parser
from minidiff.cli.train_options import MEANS, WHAT, add_options
from minidiff.cli.train_plan import OPTIONS, make_plan
from minidiff.files.extras import need
from minidiff.training.saved_run import read_card

EPILOG = """A run folder holds:
  run.json                 settings, versions, device and command
  log.jsonl                one line a step: loss, rate, gradient norm
  checkpoint.safetensors   the weights, and what resuming needs; beside it
                           the checkpoint before, checkpoint.previous...
  tokenizer.json           where it was trained
  files.json               of a folder of text: the files that the run reads
  run.lock                 while the run is going on

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
        with as_options({"path": "--out"}):
            name = read_card(out)["settings"]["device"]
    with joined(usable_device(name)) as device:
        _train(arguments, out, device)


def _train(arguments: argparse.Namespace, out: Path, device: Any) -> None:
    """Do one process's part of the training, or all of it in one process."""
    from minidiff.training.distributed import together, world
    from minidiff.training.loop import train as fit
    from minidiff.training.signals import Stopped
    from minidiff.training.threads import use_threads

    me = world()
    with together():
        if me.first and arguments.resume:
            check_free(out)
        elif me.first:
            check_new(out)
        settings = _settings(arguments, out)
    begun = arguments.resume and has_begun(out)
    options = OPTIONS
    if arguments.resume:  # the other settings were not typed
        options = {name: OPTIONS[name] for name in MEANS if name in OPTIONS}
    # The first process goes first, because it saves files that the other
    # processes then read.
    for turn in (True, False):
        with together():
            if me.first == turn:
                with as_options(options):
                    plan = make_plan(settings, out, device, begun=begun)
                if me.first and not begun:
                    card = plan.card(settings, device, arguments.command)
                    new = not arguments.resume
                    write_start(out, card, plan.data, new=new)
    if me.first:
        print(plan.title(settings, device))
    try:
        with use_threads(plan.threads):
            log = fit(
                plan.model,
                plan.data.source,
                plan.config,
                compute=plan.compute,
                run_dir=out,
                resume=arguments.resume,
                tensorboard=settings["tensorboard"],
            )
    except Stopped as stopped:
        command = shlex.join(["minidiff", "train", "--out", arguments.out])
        raise Stopped(f"{stopped}; go on with: {command} --resume") from None
    if me.first:
        _report(log[-1], settings, plan.data.source, out)


def _report(
    last: dict[str, Any], settings: dict[str, Any], data: Any, out: Path
) -> None:
    """Print the final results, the run's folder and what can be done next."""
    loss, accuracy = (
        math.nan if last[name] is None else last[name]
        for name in ("valid_loss", "valid_accuracy")
    )
    print(
        f"validation loss {loss:.4f}, accuracy {accuracy:.3f}; the run is in "
        f"{out}"
    )
    if settings["data"] == "needles":
        print(
            f"guessing among the needles: loss {data.chance.loss:.4f}, "
            f"accuracy {data.chance.accuracy:.3f}"
        )
    print("Next:")
    for command in _next(settings["data"], str(out)):
        print(f"  {shlex.join(['minidiff', *command])}")


def _next(data: str, out: str) -> list[list[str]]:
    """Return commands that look at a finished run, without "minidiff"."""
    commands = [["evaluate", out]]
    if find_spec("matplotlib"):  # an extra: not everybody has it
        commands.append(["plot", out])
    if data != "needles":
        prompt = "def " if data == "stdlib" else "The "
        commands.insert(0, ["generate", out, "--prompt", prompt])
    return commands


def _settings(arguments: argparse.Namespace, out: Path) -> dict[str, Any]:
    """Return the options that define the run; if resuming, the saved ones."""
    given = {name: getattr(arguments, name) for name in WHAT}
    typed = {
        name: value
        for name in MEANS
        if (value := getattr(arguments, name)) is not None
    }
    if not arguments.resume:
        if given["data"] not in ("stdlib", "needles"):
            check_source("--data", given["data"], ("stdlib", "needles"))
            # Not Path.expanduser, which fails for a user who does not exist.
            folder = os.path.expanduser(given["data"])
            given["data"] = str(Path(folder).resolve())
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
