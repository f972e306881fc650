"""``minidiff generate``: text from the model of a run."""

import argparse
from pathlib import Path
from typing import Any

from minidiff.cli.options import above, as_options, named, real, whole
from minidiff.cli.parser import new_parser
from minidiff.files.limits import LIMITS, MOST_SEED
from minidiff.training.saved_run import check_text, load_run, run_tokenizer

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
    add(
        "folder",
        **named(),
        metavar="RUN",
        help="a folder that minidiff train made",
    )
    add("--prompt", required=True, help="the text to continue")
    add(
        "--max-new-tokens",
        **whole(1, LIMITS["max_length"]),
        default=256,
        help="past the model's window it goes on from the last half of the "
        "window (default: %(default)s)",
    )
    add(
        "--temperature",
        **real(0),
        default=1.0,
        help="0 is the likeliest token always, above 1 wilder "
        "(default: %(default)s)",
    )
    add(
        "--top-p",
        **above(0, 1),
        default=1.0,
        help="sample among the likeliest tokens of this total probability "
        "(default: %(default)s, all)",
    )
    add(
        "--budget",
        **whole(1, LIMITS["max_length"]),
        help="number of the prompt's keys that each head keeps in the cache "
        "(default: all)",
    )
    add("--seed", **whole(0, MOST_SEED), help="makes the sample repeatable")


def run(arguments: argparse.Namespace) -> None:
    """Print a prompt and its continuation by the model of a run."""
    import torch

    from minidiff.nn.generate import generate as sample

    folder = Path(arguments.folder)
    with as_options({"path": "RUN"}):
        card, model = load_run(folder)
        check_text(card, folder)
    tokenizer = run_tokenizer(card, folder, model.config.vocab_size)
    prompt = tokenizer.encode(arguments.prompt)
    if not prompt:
        raise ValueError(
            "--prompt: got no text, expected one character or more"
        )
    longest = model.config.max_length
    if len(prompt) > longest:
        raise ValueError(
            f"--prompt: got {len(prompt)} tokens, expected at most {longest}, "
            "the length of the model's window"
        )
    row = sample(
        model,
        torch.tensor([prompt]),
        max_new_tokens=arguments.max_new_tokens,
        temperature=arguments.temperature,
        top_p=arguments.top_p,
        seed=arguments.seed,
        budget=arguments.budget,
        slide=True,
    )
    print(tokenizer.decode(row[0].tolist()))
