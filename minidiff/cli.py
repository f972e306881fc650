"""The command line: ``minidiff train``, ``generate`` and ``check``."""

import argparse
import json
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# The rest of the package is imported where it is used: PyTorch takes a
# second to load, and --help should not.

RUN_NAME = "run.json"
TOKENIZER_NAME = "tokenizer.json"

_EPILOG = """examples:
  minidiff train --data needles --attention diff --out runs/needles
      find hidden key-value pairs; half a minute
  minidiff train --data stdlib --length 128 --steps 400 --out runs/code
      a language model of Python's own source, byte by byte
  minidiff train --out runs/code --resume
      go on with a run that was stopped, with the settings it began with
  minidiff generate runs/code --prompt "def mean(" --temperature 0.7
  minidiff check notebooks/*.ipynb
      a table of which exercises are solved
"""

_TRAIN_EPILOG = """A run folder holds:
  run.json                 settings, versions, device and command
  log.jsonl                one line a step: loss, rate, gradient norm
  checkpoint.safetensors   the weights, and what resuming needs
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

_GENERATE_EPILOG = """examples:
  minidiff generate runs/code --prompt "import "
  minidiff generate runs/code --prompt "def " --temperature 0
      always the likeliest token: the same text every time
  minidiff generate runs/code --prompt "def " --top-p 0.9 --seed 1
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0, or 2 for an error."""
    parser = build_parser()
    given = list(sys.argv[1:] if argv is None else argv)
    arguments = parser.parse_args(given)
    arguments.command = shlex.join(["minidiff", *given])
    try:
        return arguments.run(arguments) or 0
    except (ValueError, TypeError, OSError, FloatingPointError) as error:
        text = " ".join(str(error).split())
        print(f"minidiff: error: {text}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("minidiff: stopped", file=sys.stderr)
        return 130


def build_parser() -> argparse.ArgumentParser:
    """Describe the commands and their options."""
    parser = _parser(
        argparse.ArgumentParser,
        prog="minidiff",
        description="Train and sample small language models with "
        "differential or plain attention.",
        epilog=_EPILOG,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_train(commands)
    _add_generate(commands)
    check = _parser(
        commands.add_parser,
        name="check",
        help="say which exercises are solved in notebooks",
        description="Run the checks of each notebook's exercises and print "
        "a table, a row a notebook.",
        epilog="example:\n  minidiff check class/*.ipynb\n",
    )
    check.add_argument("notebooks", nargs="+", metavar="NOTEBOOK")
    check.set_defaults(run=_check)
    return parser


def _parser(make: Any, **options: Any) -> argparse.ArgumentParser:
    return make(
        formatter_class=argparse.RawDescriptionHelpFormatter, **options
    )


def _add_train(commands: Any) -> None:
    train = _parser(
        commands.add_parser,
        name="train",
        help="train a model, or go on with a run",
        description="Train a small decoder and keep it in a run folder.",
        epilog=_TRAIN_EPILOG,
    )
    train.set_defaults(run=_train)
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
        help="updates; half a minute at these sizes (default: 800)",
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


def _add_generate(commands: Any) -> None:
    generate = _parser(
        commands.add_parser,
        name="generate",
        help="continue a prompt with a trained model",
        description="Sample text from the model in a run folder.",
        epilog=_GENERATE_EPILOG,
    )
    generate.set_defaults(run=_generate)
    add = generate.add_argument
    add("folder", metavar="RUN", help="a folder that minidiff train made")
    add("--prompt", required=True, help="the text to continue")
    add(
        "--max-new-tokens",
        type=int,
        help="(default: as many as the model's window has room for)",
    )
    add(
        "--temperature",
        type=float,
        default=1.0,
        help="0 is the likeliest token always, above 1 wilder (default: 1)",
    )
    add(
        "--top-p",
        type=float,
        default=1.0,
        help="sample among the likeliest tokens of this total probability "
        "(default: 1, all)",
    )
    add("--seed", type=int, help="makes the sample repeatable")


def _train(arguments: argparse.Namespace) -> None:
    import torch

    from minidiff.model import DecoderLM, ModelConfig
    from minidiff.train import TrainConfig, train

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
        _write_json(out / RUN_NAME, _card(arguments, settings))
    print(
        f"{settings['attention']}: {model.num_parameters():,} parameters, "
        f"{config.steps} steps of {config.batch_size} x "
        f"{settings['length']} tokens on {device}"
    )
    log = train(model, data, config, run_dir=out, resume=arguments.resume)
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
    names = (
        "data tokenizer vocab_size length needles seed attention width "
        "layers heads steps batch_size lr device"
    ).split()
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
    parser = build_parser()
    defaults = parser.parse_args(["train", "--out", str(out)])
    for name in names:
        typed = given[name] != getattr(defaults, name)
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


def _generate(arguments: argparse.Namespace) -> None:
    import torch

    from minidiff.checkpoint import load
    from minidiff.data import BPETokenizer, ByteTokenizer
    from minidiff.generate import generate

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
    row = generate(
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


def _check(arguments: argparse.Namespace) -> int | None:
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


def _card(
    arguments: argparse.Namespace, settings: dict[str, Any]
) -> dict[str, Any]:
    import platform
    from importlib.metadata import version

    import torch

    device = settings["device"]
    if device.startswith("cuda"):
        device = f"{device} ({torch.cuda.get_device_name(device)})"
    return {
        "command": arguments.command,
        "settings": settings,
        "device": device,
        "threads": torch.get_num_threads(),
        "platform": platform.platform(),
        "versions": {
            "python": platform.python_version(),
            **{n: version(n) for n in ("minidiff", "torch", "numpy")},
        },
    }


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


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".part")
    text = json.dumps(value, indent=2) + "\n"
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


if __name__ == "__main__":
    sys.exit(main())
