"""The command line: ``minidiff train``, ``generate``, ``bench``, ``check``."""

import argparse
import shlex
import sys
from collections.abc import Sequence
from typing import Any

from minidiff import commands

_EPILOG = """examples:
  minidiff train --data needles --attention diff --out runs/needles
      find hidden key-value pairs; about a minute
  minidiff train --data stdlib --length 128 --steps 400 --out runs/code
      a language model of Python's own source, byte by byte
  minidiff train --out runs/code --resume
      go on with a run that was stopped, with the settings it began with
  minidiff generate runs/code --prompt "def mean(" --temperature 0.7
  minidiff bench attention
      every way to compute attention, timed side by side
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

_BENCH_EPILOG = """Times are medians of rounds in which every peer runs once;
compare ratios of one run, not times of two. Peers named diff compute what
minidiff.diff_attention does with the headwise norm; plain is the matched
Transformer (twice the heads, each D wide), base has as many heads, 2D wide.

examples:
  minidiff bench attention
      on the first GPU: 16384 tokens, width 2048; minutes, mostly compiling.
      Without one: small sizes on the CPU
  minidiff bench attention --width 64 --length 4096 --out attention.json
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
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_train(subparsers)
    _add_generate(subparsers)
    _add_bench(subparsers)
    check = _parser(
        subparsers.add_parser,
        name="check",
        help="say which exercises are solved in notebooks",
        description="Run the checks of each notebook's exercises and print "
        "a table, a row a notebook.",
        epilog="example:\n  minidiff check class/*.ipynb\n",
    )
    check.add_argument("notebooks", nargs="+", metavar="NOTEBOOK")
    check.set_defaults(run=commands.check)
    return parser


def _parser(make: Any, **options: Any) -> argparse.ArgumentParser:
    return make(
        formatter_class=argparse.RawDescriptionHelpFormatter, **options
    )


def _add_train(subparsers: Any) -> None:
    train = _parser(
        subparsers.add_parser,
        name="train",
        help="train a model, or go on with a run",
        description="Train a small decoder and keep it in a run folder.",
        epilog=_TRAIN_EPILOG,
    )
    train.set_defaults(run=commands.train, default_of=train.get_default)
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


def _add_generate(subparsers: Any) -> None:
    generate = _parser(
        subparsers.add_parser,
        name="generate",
        help="continue a prompt with a trained model",
        description="Sample text from the model in a run folder.",
        epilog=_GENERATE_EPILOG,
    )
    generate.set_defaults(run=commands.generate)
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


def _add_bench(subparsers: Any) -> None:
    bench = _parser(
        subparsers.add_parser,
        name="bench",
        help="time several ways to compute attention",
        description="Measure on this machine, everything in one run.",
    )
    what = bench.add_subparsers(required=True, metavar="WHAT")
    attention = _parser(
        what.add_parser,
        name="attention",
        help="forward, and forward with backward, of one layer's heads",
        description="Time causal attention, plain and differential, in every "
        "way that PyTorch alone offers.",
        epilog=_BENCH_EPILOG,
    )
    attention.set_defaults(run=commands.bench_attention)
    add = attention.add_argument
    add("--device", help="cpu or cuda (default: cuda where there is one)")
    add(
        "--dtype",
        choices=["bfloat16", "float16", "float32"],
        help="(default: bfloat16 on a GPU, float32 on a CPU)",
    )
    add(
        "--width",
        type=int,
        nargs="+",
        metavar="D",
        help="width of one branch of a head (default: 64 128; CPU: 16)",
    )
    add(
        "--length",
        type=int,
        nargs="+",
        metavar="T",
        help="tokens in a row (default: 4096 16384 1024; CPU: 128 512)",
    )
    add(
        "--tokens",
        type=int,
        help="tokens in all, rows times length (default: 16384; CPU: 1024)",
    )
    add(
        "--hidden",
        type=int,
        help="width of all heads together (default: 2048; CPU: 128)",
    )
    add("--rounds", type=int, default=20, help="(default: 20)")
    add("--out", metavar="FILE", help="write the record there, as JSON")


if __name__ == "__main__":
    sys.exit(main())
