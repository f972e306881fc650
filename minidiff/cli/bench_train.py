"""``minidiff bench train``: whole models, trained side by side."""

import argparse
from typing import Any

from minidiff.cli.bench_options import (
    LIST,
    chosen,
    default,
    new_benchmark,
)
from minidiff.cli.options import whole
from minidiff.files.limits import LIMITS, MOST_STEPS

EPILOG = """Times are medians of rounds in which every peer makes one update:
forward, backward, clipping and AdamW, as minidiff train does, compiled on a
GPU. All models are of one width and depth; plain has twice the heads of diff
and v2, each D wide. The ratio is to the fastest plain; MiB is the most memory
that one update needs, its model and optimiser included.

examples:
  minidiff bench train
      on the first GPU: 350 million parameters, 2048 and 8192 tokens in a row;
      the models of one length together take 50 GB or more. Without one: tiny
      models on the CPU
  minidiff bench train --length 2048 --rounds 30 --out train.json
"""


def add(what: Any) -> None:
    """Describe the command and its options."""
    add = new_benchmark(
        what,
        run_train,
        name="train",
        help="one update of a whole model, plain and differential",
        description="Time the training of whole models, plain and "
        "differential, with PyTorch's kernels and with ours.",
        epilog=EPILOG,
    )
    add(
        "--length",
        **LIST,
        metavar="T",
        help=f"tokens in a row {default('train', 'length')}",
    )
    add(
        "--tokens",
        **whole(0, MOST_STEPS),
        help=f"tokens in an update {default('train', 'tokens')}",
    )
    add(
        "--layers",
        **whole(1, LIMITS["num_layers"]),
        help=f"{default('train', 'layers')}",
    )
    add(
        "--vocab-size",
        **whole(1, LIMITS["vocab_size"]),
        help=f"{default('train', 'vocab_size')}",
    )


def run_train(arguments: argparse.Namespace) -> None:
    """Time every model's training update; print tables, save a record."""
    from minidiff.bench.train import run, sizes

    given, how = chosen("train", arguments)
    settings = sizes(
        tokens=given["tokens"],
        hidden=given["hidden"],
        layers=given["layers"],
        vocab_size=given["vocab_size"],
        widths=given["width"],
        lengths=given["length"],
    )
    run(settings, how)
