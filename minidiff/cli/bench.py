"""``minidiff bench``: implementations of attention, timed in one run."""

import argparse
from typing import Any

from minidiff.cli import bench_fuzz, bench_train, compiled
from minidiff.cli.bench_options import (
    LIST,
    chosen,
    default,
    new_benchmark,
)
from minidiff.cli.options import whole
from minidiff.cli.parser import new_parser
from minidiff.files.limits import MOST_STEPS

PEERS = """Times are medians of rounds in which every peer runs once;
compare ratios of one run, not times of two. Peers named diff compute what
minidiff.diff_attention does with the headwise norm; plain is the matched
Transformer (twice the heads, each D wide), base has as many heads, 2D wide."""

EPILOG = """A benchmark prints each implementation when it is ready and was
right, and the times when all were timed. On Ctrl-C it keeps, in the file of
--out, the times of the rounds so far. An implementation that changes its
inputs, keeps results from call to call, returns NaN or leaves a part of the
result unwritten stops the benchmark, which names it.
"""

ATTENTION = f"""{PEERS}

examples:
  minidiff bench attention
      on the first GPU: 16384 tokens, width 2048; minutes, mostly compiling.
      Without one: small sizes on the CPU
  minidiff bench attention --width 64 --length 4096 --out attention.json
"""

DECODE = f"""{PEERS}
GB/s is the cache, read once, over the time; who reads it twice shows half.

examples:
  minidiff bench decode
      on the first GPU: every width, length and batch; the four kinds' longest
      caches take 69 GB. Without one: small sizes on the CPU
  minidiff bench decode --width 64 --length 8192 --batch 8 --out decode.json
"""


def add(subparsers: Any) -> None:
    """Describe the commands and their options."""
    bench = new_parser(
        subparsers.add_parser,
        name="bench",
        help="time several ways to compute attention, and check the kernels",
        description="Measure on this machine, everything in one run.",
        epilog=EPILOG,
    )
    what = bench.add_subparsers(required=True, metavar="WHAT")
    add = new_benchmark(
        what,
        run_attention,
        name="attention",
        help="forward, and forward with backward, of one layer's heads",
        description="Time causal attention, plain and differential, in every "
        "way that PyTorch alone offers, and by our own kernels.",
        epilog=ATTENTION,
    )
    add(
        "--length",
        **LIST,
        metavar="T",
        help=f"tokens in a row {default('attention', 'length')}",
    )
    add(
        "--tokens",
        **whole(0, MOST_STEPS),
        help="tokens in all, rows times length "
        f"{default('attention', 'tokens')}",
    )
    add = new_benchmark(
        what,
        run_decode,
        name="decode",
        help="one new token of each row against a cache of keys and values",
        description="Time one decoding step, plain and differential, in every "
        "way that PyTorch alone offers, and by our own kernel.",
        epilog=DECODE,
    )
    add(
        "--length",
        **LIST,
        metavar="S",
        help=f"tokens in the cache {default('decode', 'length')}",
    )
    add(
        "--batch",
        **LIST,
        metavar="B",
        help=f"rows, each with its own cache {default('decode', 'batch')}",
    )
    bench_train.add(what)
    compiled.add(what)
    bench_fuzz.add(what)


def run_attention(arguments: argparse.Namespace) -> None:
    """Time every implementation of attention; print tables, save a record."""
    from minidiff.bench.attention import run, shapes

    sizes, how = chosen("attention", arguments)
    settings = shapes(
        tokens=sizes["tokens"],
        hidden=sizes["hidden"],
        widths=sizes["width"],
        lengths=sizes["length"],
    )
    run(settings, how)


def run_decode(arguments: argparse.Namespace) -> None:
    """Time every implementation of decoding; print tables, save a record."""
    from minidiff.bench.decode import run, steps

    sizes, how = chosen("decode", arguments)
    settings = steps(
        hidden=sizes["hidden"],
        widths=sizes["width"],
        lengths=sizes["length"],
        batches=sizes["batch"],
    )
    run(settings, how)
