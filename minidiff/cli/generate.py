"""``minidiff generate``: text from the model of a run."""

import argparse
from pathlib import Path
from typing import Any

from minidiff.cli.parser import new_parser
from minidiff.cli.runs import TOKENIZER_NAME, read_card

EPILOG = """examples:
  minidiff generate runs/code --prompt "import "
  minidiff generate runs/code --prompt "def " --temperature 0
      always the likeliest token: the same text every time
  minidiff generate runs/code --prompt "def " --top-p 0.9 --seed 1
"""


def add(subparsers: Any) -> None:
    """Describe the command and its options."""
    generate = new_parser(
        subparsers.add_parser,
        name="generate",
        help="continue a prompt with a trained model",
        description="Sample text from the model in a run folder.",
        epilog=EPILOG,
    )
    generate.set_defaults(run=run)
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
        help="0 is the likeliest token always, above 1 wilder "
        "(default: %(default)s)",
    )
    add(
        "--top-p",
        type=float,
        default=1.0,
        help="sample among the likeliest tokens of this total probability "
        "(default: %(default)s, all)",
    )
    add("--seed", type=int, help="makes the sample repeatable")


def run(arguments: argparse.Namespace) -> None:
    """Print a prompt and its continuation by the model of a run."""
    import torch

    from minidiff.data import BPETokenizer, ByteTokenizer
    from minidiff.nn.generate import generate as sample
    from minidiff.training.checkpoint import load

    folder = Path(arguments.folder)
    settings = read_card(folder)["settings"]
    if settings["data"] == "needles":
        raise ValueError(
            f"RUN: {folder} was trained on needles, expected a model of text"
        )
    path = folder / TOKENIZER_NAME
    trained = path.exists()
    tokenizer = BPETokenizer.load(path) if trained else ByteTokenizer()
    model = load(folder)
    prompt = tokenizer.encode(arguments.prompt)
    if not prompt:
        raise ValueError(
            "--prompt: got no text, expected one character or more"
        )
    room = model.config.max_length - len(prompt)
    if room < 1:
        raise ValueError(
            f"--prompt: got {len(prompt)} tokens, expected fewer than "
            f"{model.config.max_length}, the length of the model's window"
        )
    new = arguments.max_new_tokens
    row = sample(
        model,
        torch.tensor([prompt]),
        max_new_tokens=room if new is None else new,
        temperature=arguments.temperature,
        top_p=arguments.top_p,
        seed=arguments.seed,
    )
    print(tokenizer.decode(row[0].tolist()))
