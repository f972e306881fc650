"""``minidiff bench compile``: the compiler's report on our kernels."""

import argparse
from pathlib import Path
from typing import Any

from minidiff.cli.options import named, whole
from minidiff.cli.output import check_out
from minidiff.cli.parser import new_parser
from minidiff.files.extras import need


def add(what: Any) -> None:
    """Describe the command and its options."""
    parser = new_parser(
        what.add_parser,
        name="compile",
        help="registers and shared memory of our kernels; needs no GPU",
        description="Compile every fused kernel at D 64 and 128, V1 and V2, "
        "bfloat16 and causal; print what the compiler reports of each.",
    )
    parser.set_defaults(run=run_compile)
    parser.add_argument(
        "--capability",
        **whole(80, 90),
        nargs="+",
        choices=[80, 89, 90],
        default=[80, 89, 90],
        help="compute capabilities, 90 for 9.0 (default: all)",
    )
    parser.add_argument(
        "--out",
        **named(),
        metavar="FILE",
        help="write the rows there, as JSON",
    )


def run_compile(arguments: argparse.Namespace) -> None:
    """Compile the kernels; print a table and save its rows."""
    check_out(arguments.out)
    need("triton", "minidiff bench compile")
    from minidiff.bench.builds import builds
    from minidiff.bench.compiled import compile_one, table
    from minidiff.files.json import write_json

    rows = [compile_one(build) for build in builds(arguments.capability)]
    print(table(rows))
    if arguments.out:
        write_json(Path(arguments.out), {"rows": rows})
