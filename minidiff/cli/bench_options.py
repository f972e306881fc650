"""Options and default sizes of the benchmarks that measure time."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minidiff.cli.devices import usable_device
from minidiff.cli.options import named, whole
from minidiff.cli.output import check_out
from minidiff.cli.parser import new_parser
from minidiff.files.limits import LIMITS, MOST_ROWS, MOST_STEPS

if TYPE_CHECKING:
    from minidiff.bench.record import Run

SIZES = {
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
    "train": {
        "cuda": {
            "tokens": 16384,
            "hidden": 1024,
            "layers": 24,
            "vocab_size": 32768,
            "width": [64],
            "length": [2048, 8192],
        },
        "cpu": {
            "tokens": 256,
            "hidden": 64,
            "layers": 2,
            "vocab_size": 256,
            "width": [16],
            "length": [64, 128],
        },
    },
}

LIST: dict[str, Any] = {**whole(1, MOST_STEPS), "nargs": "+"}


def new_benchmark(what: Any, run: Callable[..., None], **options: Any) -> Any:
    """Make a benchmark's parser with shared options; return its ``add``."""
    name = options["name"]
    parser = new_parser(what.add_parser, **options)
    parser.set_defaults(run=run)
    add = parser.add_argument
    add(
        "--device",
        **named(),
        help="cpu or cuda (default: cuda where there is one)",
    )
    add(
        "--dtype",
        choices=["bfloat16", "float16", "float32"],
        help="(default: bfloat16 on a GPU, float32 on a CPU)",
    )
    add(
        "--width",
        **LIST,
        metavar="D",
        help=f"width of one branch of a head {default(name, 'width')}",
    )
    add(
        "--hidden",
        **whole(0, LIMITS["embed_dim"]),
        help=f"width of all heads together {default(name, 'hidden')}",
    )
    add(
        "--rounds",
        **whole(1, MOST_ROWS),
        default=20,
        help="(default: %(default)s)",
    )
    add(
        "--out",
        **named(),
        metavar="FILE",
        help="write the record there, as JSON",
    )
    return add


def default(what: str, size: str) -> str:
    """Format an option's defaults on a GPU and a CPU for its help text."""
    gpu, cpu = (
        " ".join(map(str, value)) if isinstance(value, list) else value
        for value in (SIZES[what][device][size] for device in ("cuda", "cpu"))
    )
    return f"(default: {gpu}; CPU: {cpu})"


def chosen(
    what: str, arguments: argparse.Namespace
) -> tuple[dict[str, Any], "Run"]:
    """Return the sizes and the options of the run.

    Sizes that were not given are the defaults for the device. Raises
    ValueError for a device other than cpu and cuda.
    """
    import torch

    from minidiff.bench.record import Run

    check_out(arguments.out)
    gpu = torch.cuda.is_available()
    name = arguments.device or ("cuda" if gpu else "cpu")
    if name.partition(":")[0] not in SIZES[what]:
        raise ValueError(
            f"--device: got {name!r}, expected cpu or cuda: others cannot be "
            "timed here"
        )
    device = usable_device(name)
    usual = "bfloat16" if device.type == "cuda" else "float32"
    sizes = SIZES[what][device.type]
    given = {name: getattr(arguments, name) for name in sizes}
    sizes = sizes | {n: size for n, size in given.items() if size is not None}
    dtype = getattr(torch, arguments.dtype or usual)
    _check_memory(what, sizes, device, dtype.itemsize)
    how = Run(
        device=device,
        dtype=dtype,
        rounds=arguments.rounds,
        command=arguments.command,
        out=Path(arguments.out) if arguments.out else None,
    )
    return sizes, how


def _check_memory(
    what: str, sizes: dict[str, Any], device: Any, width: int
) -> None:
    """Raise ValueError if the inputs or weights alone do not fit.

    ``width`` is that of a number of the dtype, in bytes.
    """
    import torch

    from minidiff.files.machine import physical_memory

    hidden = sizes["hidden"]
    if what == "train":
        # Weights, gradients and the two averages of Adam, all in float32.
        rows = 12 * sizes["layers"] * hidden + sizes["vocab_size"]
        names, numbers = "--hidden, --layers, --vocab-size", 4 * rows
        width = 4
    elif what == "decode":
        keys = max(sizes["batch"]) * max(sizes["length"])
        names, numbers = "--hidden, --batch, --length", 2 * keys
    else:
        names, numbers = "--tokens, --hidden", 4 * sizes["tokens"]
    needed = numbers * hidden * width
    available = physical_memory()
    if device.type == "cuda":
        available = torch.cuda.get_device_properties(device).total_memory
    if needed > available:
        raise ValueError(
            f"{names}: need at least {needed / 1e9:,.1f} GB, expected at most "
            f"{available / 1e9:,.1f} GB, the memory of the device"
        )
