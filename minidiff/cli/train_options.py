"""The options of ``minidiff train``."""

import argparse
from dataclasses import fields

from minidiff.cli.options import above, named, whole
from minidiff.files.limits import (
    LIMITS,
    MOST_ROWS,
    MOST_SEED,
    MOST_STEPS,
    MOST_TOKENS,
)
from minidiff.training.config import (
    PARALLEL,
    PRECISIONS,
    Compute,
    TrainConfig,
)

# Options that define the run: --resume takes them from the run and rejects
# other values.
WHAT = (
    *("data", "tokenizer", "vocab_size", "length", "needles", "seed"),
    *("attention", "width", "layers", "heads"),
    *("steps", "batch_size", "lr", "precision", "device"),
)
# Execution options: --resume takes them from the run unless they are given.
MEANS = {f.name: f.default for f in fields(Compute)} | {
    "threads": None,
    "tensorboard": False,
}


def add_options(train: argparse.ArgumentParser) -> None:
    """Add every option, with its default and a description."""
    add = train.add_argument
    add(
        "--out",
        **named(),
        required=True,
        metavar="RUN",
        help="the run's folder; a new one, unless with --resume",
    )
    add(
        "--resume",
        action="store_true",
        help="go on with the run in --out; its settings are taken from it",
    )
    data = train.add_argument_group("data")
    add = data.add_argument
    add(
        "--data",
        **named(),
        default="stdlib",
        metavar="stdlib|needles|FOLDER",
        help="what to learn: Python's own source (no download), the needle "
        "task, a folder of text files, or one that minidiff tokens made, "
        "which has its own tokenizer (default: %(default)s)",
    )
    add(
        "--tokenizer",
        choices=["byte", "bpe"],
        default="byte",
        help="byte needs no training; bpe makes rows of text about 3.5 "
        "times shorter (default: %(default)s)",
    )
    add(
        "--vocab-size",
        **whole(256, MOST_TOKENS),
        default=4096,
        help="tokens of bpe; more would be mostly embedding "
        "(default: %(default)s)",
    )
    add(
        "--length",
        **whole(1, LIMITS["max_length"]),
        default=64,
        help="tokens in a window; time grows with it (default: %(default)s)",
    )
    add(
        "--needles",
        **whole(1, 64),
        default=2,
        help="hidden pairs in a row of the needle task (default: %(default)s)",
    )
    add(
        "--seed",
        **whole(0, MOST_SEED),
        default=0,
        help="seed of the first weights and of the data "
        "(default: %(default)s)",
    )
    model = train.add_argument_group("model")
    add = model.add_argument
    add(
        "--attention",
        choices=["softmax", "diff", "diff_v2"],
        default="diff",
        help="softmax is the plain, matched model (default: %(default)s)",
    )
    add(
        "--width",
        **whole(1, LIMITS["embed_dim"]),
        default=64,
        help="width E of the model (default: %(default)s)",
    )
    add(
        "--layers",
        **whole(1, LIMITS["num_layers"]),
        default=2,
        help="number of layers L (default: %(default)s)",
    )
    add(
        "--heads",
        **whole(1, LIMITS["num_heads"]),
        default=4,
        help="heads of the plain model; diff has half as many "
        "(default: %(default)s)",
    )
    loop = train.add_argument_group("training")
    add = loop.add_argument
    add(
        "--steps",
        **whole(1, MOST_STEPS),
        default=TrainConfig.steps,
        help="updates; about a minute at these sizes (default: %(default)s)",
    )
    add(
        "--batch-size",
        **whole(1, MOST_ROWS),
        default=TrainConfig.batch_size,
        help="rows in a batch (default: %(default)s)",
    )
    add(
        "--lr",
        **above(0, 1e30),
        default=TrainConfig.lr,
        help="highest learning rate; lower it for a wider model "
        "(default: %(default)s)",
    )
    add(
        "--precision",
        choices=PRECISIONS,
        default=TrainConfig.precision,
        help="bfloat16 is autocast, for GPUs; weights stay float32 "
        "(default: %(default)s)",
    )
    add(
        "--device",
        **named(),
        default="cpu",
        help="cpu, cuda or mps; only cpu resumes bit for bit "
        "(default: %(default)s)",
    )
    means = train.add_argument_group(
        "execution", "they change speed, memory and rounding, nothing else"
    )
    add = means.add_argument
    add(
        "--accumulate",
        **whole(1, MOST_ROWS),
        metavar="N",
        help="compute the rows in N parts, for less memory "
        + _usual("accumulate"),
    )
    add(
        "--compile",
        action=argparse.BooleanOptionalAction,
        help="compile the model first, which takes minutes "
        + _usual("compile"),
    )
    add(
        "--parallel",
        choices=PARALLEL,
        help="under torchrun: all weights in every process, or a share each "
        + _usual("parallel"),
    )
    add(
        "--backend",
        choices=["auto", "eager", "sdpa", "triton"],
        help="how differential attention is computed " + _usual("backend"),
    )
    add(
        "--threads",
        **whole(1, 2**12),
        metavar="N",
        help="CPU threads (default: 1 for a small model, which more threads "
        "make much slower beside other programs; else all that PyTorch has)",
    )
    add(
        "--tensorboard",
        action=argparse.BooleanOptionalAction,
        help="write the log for TensorBoard too, into the run folder "
        + _usual("tensorboard"),
    )


def _usual(name: str) -> str:
    """Format an option's default value for its help text."""
    value = MEANS[name]
    if isinstance(value, bool):
        value = "yes" if value else "no"
    return f"(default: {value})"
