"""``minidiff bench fuzz``: random cases of the fused kernels, checked."""

import argparse
import os
from pathlib import Path
from typing import Any

from minidiff.cli.devices import usable_device
from minidiff.cli.options import above, whole
from minidiff.cli.parser import new_parser
from minidiff.files.extras import need
from minidiff.files.limits import MOST_SEED

EPILOG = """A case is drawn from the seed and its number: values and gradients,
causal or not, grouped heads, any strides, padding, lambda of every shape,
norm, decoding, vmap. Inputs lie in memory that is NaN around them, and what
is not written is NaN. An error is measured against float64, relative to the
size of the terms that cancel, and compared with eager's own error.

On a CPU the kernels run in Triton's interpreter, small cases, and not in
bfloat16, which the interpreter silently computes incorrectly. The exit code
is 1 if a case failed.

examples:
  minidiff bench fuzz --minutes 10
  minidiff bench fuzz --cases 500 --seed 7 --out fuzz.json
  minidiff bench fuzz --case 7:123
      one case again, with all its errors
"""


def add(what: Any) -> None:
    """Describe the command and its options."""
    parser = new_parser(
        what.add_parser,
        name="fuzz",
        help="random cases of our kernels against float64; no times",
        description="Draw random cases of the fused kernels and compare "
        "their values and gradients with eager attention in float64.",
        epilog=EPILOG,
    )
    parser.set_defaults(run=run_fuzz)
    add = parser.add_argument
    much = parser.add_mutually_exclusive_group()
    much.add_argument("--minutes", **above(0), help="run for so long")
    much.add_argument("--cases", **whole(1), help="how many (default: 100)")
    much.add_argument(
        "--case", metavar="SEED:NUMBER", help="run this case and print it"
    )
    add("--seed", **whole(0, MOST_SEED), help="of the draw (default: 0)")
    add("--device", help="cpu or cuda (default: cuda where there is one)")
    add(
        "--dtype",
        choices=["bfloat16", "float16", "float32"],
        help="of all cases (default: drawn)",
    )
    add("--out", metavar="FILE", help="write the record there, as JSON")


def run_fuzz(arguments: argparse.Namespace) -> int:
    """Judge the cases, print a report; return 1 if one failed."""
    import torch

    cases, minutes = arguments.cases, arguments.minutes
    seed, number = arguments.seed or 0, None
    if arguments.case is not None:
        if arguments.seed is not None:
            raise ValueError(
                f"--seed: got {seed} beside --case {arguments.case}, whose "
                "first number is the seed; expected one of the two options"
            )
        seed, number = _case(arguments.case)
    gpu = torch.cuda.is_available()
    name = arguments.device or ("cuda" if gpu else "cpu")
    if name.partition(":")[0] not in ("cpu", "cuda"):
        raise ValueError(f"--device: got {name!r}, expected cpu or cuda")
    device = usable_device(name)
    _choose_triton(device.type, arguments.dtype)
    from minidiff.bench.fuzz import Fuzz, again
    from minidiff.bench.fuzz_judge import triton

    fuzz = Fuzz(
        operator=triton,
        device=device,
        command=arguments.command,
        seed=seed,
        cases=cases or (None if minutes else 100),
        minutes=minutes,
        dtype=arguments.dtype and getattr(torch, arguments.dtype),
        out=Path(arguments.out) if arguments.out else None,
    )
    passed = fuzz.run() if number is None else again(fuzz, number)
    return 0 if passed else 1


def _case(text: str) -> tuple[int, int]:
    """Split ``SEED:NUMBER``; raise ValueError if it is not two integers."""
    try:
        seed, number = (int(part) for part in text.split(":"))
    except ValueError:
        raise ValueError(
            f"--case: got {text!r}, expected SEED:NUMBER, two integers such "
            "as 0:17"
        ) from None
    return seed, number


def _choose_triton(device: str, dtype: str | None) -> None:
    """Import Triton with its interpreter on a CPU, and without on a GPU."""
    need("triton", "minidiff bench fuzz")
    if device == "cpu":
        if dtype == "bfloat16":
            raise ValueError(
                "--dtype: got bfloat16 on a CPU, where Triton's interpreter "
                "silently computes it incorrectly; expected float16 or "
                "float32"
            )
        os.environ["TRITON_INTERPRET"] = "1"  # read when Triton is imported
    from minidiff.ops.triton.interpreter import INTERPRETED

    if (device == "cpu") != INTERPRETED:
        raise ValueError(
            f"--device: got {device}, but TRITON_INTERPRET is "
            f"{os.environ.get('TRITON_INTERPRET', 'not set')} in the "
            "environment; expected it set for cpu and not set for cuda"
        )
