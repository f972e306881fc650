"""``minidiff bench``: several ways to attend, timed in one run."""

import argparse
from pathlib import Path
from typing import Any

from minidiff.commands.parser import new_parser
from minidiff.commands.runs import usable_device

EPILOG = """Times are medians of rounds in which every peer runs once;
compare ratios of one run, not times of two. Peers named diff compute what
minidiff.diff_attention does with the headwise norm; plain is the matched
Transformer (twice the heads, each D wide), base has as many heads, 2D wide.

examples:
  minidiff bench attention
      on the first GPU: 16384 tokens, width 2048; minutes, mostly compiling.
      Without one: small sizes on the CPU
  minidiff bench attention --width 64 --length 4096 --out attention.json
"""

_SIZES = {
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
}


def add(subparsers: Any) -> None:
    """Describe the command and its options."""
    bench = new_parser(
        subparsers.add_parser,
        name="bench",
        help="time several ways to compute attention",
        description="Measure on this machine, everything in one run.",
    )
    what = bench.add_subparsers(required=True, metavar="WHAT")
    attention = new_parser(
        what.add_parser,
        name="attention",
        help="forward, and forward with backward, of one layer's heads",
        description="Time causal attention, plain and differential, in every "
        "way that PyTorch alone offers.",
        epilog=EPILOG,
    )
    attention.set_defaults(run=run_attention)
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
    compiled = new_parser(
        what.add_parser,
        name="compile",
        help="registers and shared memory of our kernels; needs no GPU",
        description="Compile every fused kernel at D 64 and 128, V1 and V2, "
        "bfloat16 and causal; print what the compiler reports of each.",
    )
    compiled.set_defaults(run=run_compile)
    compiled.add_argument(
        "--capability",
        type=int,
        nargs="+",
        choices=[80, 89, 90],
        default=[80, 89, 90],
        help="compute capabilities, 90 for 9.0 (default: all)",
    )
    compiled.add_argument(
        "--out", metavar="FILE", help="write the rows there, as JSON"
    )


def run_compile(arguments: argparse.Namespace) -> None:
    """Compile the kernels; print a table, and keep the rows."""
    from minidiff.bench.compiled import builds, compile_one, table
    from minidiff.provenance import write_json

    rows = []
    for build in builds(arguments.capability):
        rows.append(compile_one(build))
        print(
            "\n".join(table(rows).splitlines()[0 if len(rows) == 1 else -1 :])
        )
    if arguments.out:
        write_json(Path(arguments.out), {"rows": rows})


def run_attention(arguments: argparse.Namespace) -> None:
    """Time every way to attend; print tables, and keep the record."""
    import torch

    from minidiff.bench.attention import run, shapes

    gpu = torch.cuda.is_available()
    device = usable_device(arguments.device or ("cuda" if gpu else "cpu"))
    big = device.type == "cuda"
    if device.type not in _SIZES:
        raise ValueError(
            f"--device: got {arguments.device!r}, expected cpu or cuda: "
            "others cannot be timed here"
        )
    dtype = arguments.dtype or ("bfloat16" if big else "float32")
    given = {name: getattr(arguments, name) for name in _SIZES["cpu"]}
    sizes = _SIZES[device.type] | {
        name: value for name, value in given.items() if value is not None
    }
    run(
        shapes(
            tokens=sizes["tokens"],
            hidden=sizes["hidden"],
            widths=sizes["width"],
            lengths=sizes["length"],
        ),
        device=device,
        dtype=getattr(torch, dtype),
        rounds=arguments.rounds,
        command=arguments.command,
        out=Path(arguments.out) if arguments.out else None,
    )
