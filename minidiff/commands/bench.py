"""``minidiff bench``: several ways to attend, timed in one run."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minidiff.commands import compiled
from minidiff.commands.parser import new_parser
from minidiff.commands.runs import usable_device

if TYPE_CHECKING:
    from minidiff.bench.record import Run

PEERS = """Times are medians of rounds in which every peer runs once;
compare ratios of one run, not times of two. Peers named diff compute what
minidiff.diff_attention does with the headwise norm; plain is the matched
Transformer (twice the heads, each D wide), base has as many heads, 2D wide."""

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

_SIZES = {
    "attention": {
        "cuda": {
            "tokens": 16384,
            "hidden": 2048,
            "width": [64, 128],
            "length": [4096, 16384, 1024],
        },
        "cpu": {
            "tokens": 1024,
            "hidden": 128,
            "width": [16],
            "length": [128, 512],
        },
    },
    "decode": {
        "cuda": {
            "batch": [1, 8, 32],
            "hidden": 2048,
            "width": [64, 128],
            "length": [8192, 16384, 65536],
        },
        "cpu": {
            "batch": [1, 4],
            "hidden": 128,
            "width": [16],
            "length": [128, 512],
        },
    },
}

_LIST = {"type": int, "nargs": "+"}


def add(subparsers: Any) -> None:
    """Describe the commands and their options."""
    bench = new_parser(
        subparsers.add_parser,
        name="bench",
        help="time several ways to compute attention",
        description="Measure on this machine, everything in one run.",
    )
    what = bench.add_subparsers(required=True, metavar="WHAT")
    add = _new(
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
        **_LIST,
        metavar="T",
        help="tokens in a row (default: 4096 16384 1024; CPU: 128 512)",
    )
    add(
        "--tokens",
        type=int,
        help="tokens in all, rows times length (default: 16384; CPU: 1024)",
    )
    add = _new(
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
        **_LIST,
        metavar="S",
        help="tokens in the cache (default: 8192 16384 65536; CPU: 128 512)",
    )
    add(
        "--batch",
        **_LIST,
        metavar="B",
        help="rows, each with its own cache (default: 1 8 32; CPU: 1 4)",
    )
    compiled.add(what)


def _new(what: Any, run: Callable[..., None], **options: Any) -> Any:
    """Make one benchmark's parser with what all share; return its ``add``."""
    parser = new_parser(what.add_parser, **options)
    parser.set_defaults(run=run)
    add = parser.add_argument
    add("--device", help="cpu or cuda (default: cuda where there is one)")
    add(
        "--dtype",
        choices=["bfloat16", "float16", "float32"],
        help="(default: bfloat16 on a GPU, float32 on a CPU)",
    )
    add(
        "--width",
        **_LIST,
        metavar="D",
        help="width of one branch of a head (default: 64 128; CPU: 16)",
    )
    add(
        "--hidden",
        type=int,
        help="width of all heads together (default: 2048; CPU: 128)",
    )
    add("--rounds", type=int, default=20, help="(default: 20)")
    add("--out", metavar="FILE", help="write the record there, as JSON")
    return add


def run_attention(arguments: argparse.Namespace) -> None:
    """Time every way to attend; print tables, and keep the record."""
    from minidiff.bench.attention import run, shapes

    sizes, how = _chosen("attention", arguments)
    settings = shapes(
        tokens=sizes["tokens"],
        hidden=sizes["hidden"],
        widths=sizes["width"],
        lengths=sizes["length"],
    )
    run(settings, how)


def run_decode(arguments: argparse.Namespace) -> None:
    """Time every way to read a cache; print tables, and keep the record."""
    from minidiff.bench.decode import run, steps

    sizes, how = _chosen("decode", arguments)
    settings = steps(
        hidden=sizes["hidden"],
        widths=sizes["width"],
        lengths=sizes["length"],
        batches=sizes["batch"],
    )
    run(settings, how)


def _chosen(
    what: str, arguments: argparse.Namespace
) -> tuple[dict[str, Any], "Run"]:
    """Sizes as given, or the device's own, and how to run."""
    import torch

    from minidiff.bench.record import Run

    gpu = torch.cuda.is_available()
    device = usable_device(arguments.device or ("cuda" if gpu else "cpu"))
    if device.type not in _SIZES[what]:
        raise ValueError(
            f"--device: got {arguments.device!r}, expected cpu or cuda: "
            "others cannot be timed here"
        )
    usual = "bfloat16" if device.type == "cuda" else "float32"
    sizes = _SIZES[what][device.type]
    given = {name: getattr(arguments, name) for name in sizes}
    sizes = sizes | {n: size for n, size in given.items() if size is not None}
    how = Run(
        device=device,
        dtype=getattr(torch, arguments.dtype or usual),
        rounds=arguments.rounds,
        command=arguments.command,
        out=Path(arguments.out) if arguments.out else None,
    )
    return sizes, how
