"""The command line of the recipes that time kernels on a GPU."""

import argparse
import sys
from pathlib import Path

import torch

# First, because it turns Triton's interpreter on where there is no GPU.
from minidiff.course.kernels import DEVICE, INTERPRETED  # isort: skip

from minidiff.bench.record import Run

RESULTS = Path(__file__).resolve().parents[1] / "results"


def gpu_run(description: str | None, record: str) -> tuple[Run, bool]:
    """Read the options; return the run, and whether it is only tried.

    ``record`` is the name of the file in book/results that the recipe writes
    unless ``--out`` names another. With ``--quick``, which needs ``--out``,
    it runs without a GPU too, in Triton's interpreter and in float32.
    """
    parser = argparse.ArgumentParser(
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="only try it")
    parser.add_argument("--out", type=Path, default=RESULTS / record)
    options = parser.parse_args()
    if INTERPRETED and not options.quick:
        parser.error("needs a GPU, found none; --quick tries it without")
    if options.quick and options.out == RESULTS / record:
        parser.error(f"--quick: expected --out, another file than {record}")
    run = Run(
        device=torch.device(DEVICE),
        dtype=torch.float32 if INTERPRETED else torch.bfloat16,
        rounds=1 if options.quick else 5,
        command=" ".join(sys.argv),
        out=options.out,
    )
    return run, options.quick
