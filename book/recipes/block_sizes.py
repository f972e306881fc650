"""Time the kernels of chapters 9 and 10 over block sizes, warps and stages.

    python book/recipes/block_sizes.py
    python book/recipes/block_sizes.py --mine --out my_block_sizes.json
    python book/recipes/block_sizes.py --quick --out tried.json

The softmax of exercise 9.3 and the flash attention of exercise 10.4, as the
course solves them; with ``--mine`` your own answers, once their checks have
passed. Each setting is compared with PyTorch's float32 result before it is
timed. One that does not compile, or is wrong, is recorded with the reason.
Needs a GPU and takes minutes; ``--quick`` tries the recipe on small tensors,
also in Triton's interpreter, whose times mean nothing.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from minidiff import check
from minidiff.bench.timing import alternate
from minidiff.check.ex09.softmax import softmax_kernel
from minidiff.check.ex10.causal import causal_kernel
from minidiff.course.kernels import DEVICE, INTERPRETED
from minidiff.course.kernels.flash import LOG2_E
from minidiff.files.json import write_json
from minidiff.files.provenance import provenance

# The interpreter must be on before Triton comes.
import triton  # isort: skip

OUT = Path(__file__).resolve().parents[1] / "results" / "block_sizes.json"
NUMBERS = 2**25  # of the softmax's matrix, whatever its width
WIDTHS = (256, 1000, 4096, 16384)
HEADS, LENGTH, WIDTH = 32, 4096, 64  # of the flash attention
SIDES = (16, 32, 64, 128)
OPTIONS = [(4, 1), (4, 2), (4, 3), (8, 2)]  # warps and stages
ROUNDS = 10
TOLERANCE = 2e-3  # relative, for float16; float32 is far closer

Setting = dict[str, int]
Call = Callable[[], Tensor]


def softmax_calls(
    kernel: Any, width: int, numbers: int
) -> Iterator[tuple[Setting, Call, Tensor]]:
    """Yield a setting, the call that runs it, and the right result."""
    x = torch.randn(numbers // width, width, device=DEVICE)
    least = triton.next_power_of_2(width)
    for block, warps in product((least, 2 * least), (1, 2, 4, 8, 16)):
        setting = {"width": width, "BLOCK": block, "num_warps": warps}
        yield setting, partial(softmax, kernel, x, block, warps), x.softmax(-1)


def softmax(kernel: Any, x: Tensor, block: int, warps: int) -> Tensor:
    """Launch exercise 9.3's kernel on x (rows, width)."""
    out = torch.empty_like(x)
    rows, width = x.shape
    strides = x.stride(0), out.stride(0)
    kernel[(rows,)](x, out, width, *strides, BLOCK=block, num_warps=warps)
    return out


def flash_calls(
    kernel: Any, heads: int, length: int, sides: tuple[int, ...]
) -> Iterator[tuple[Setting, Call, Tensor]]:
    """Yield a setting, the call that runs it, and the right result."""
    dtype = torch.float16
    q, k, v = torch.randn(3, heads, length, WIDTH, device=DEVICE).to(dtype)
    right = torch.nn.functional.scaled_dot_product_attention(
        q.float()[None], k.float()[None], v.float()[None], is_causal=True
    )[0]
    for BT, BS, (warps, stages) in product(sides, sides, OPTIONS):
        setting = {"BT": BT, "BS": BS, "num_warps": warps}
        setting |= {"num_stages": stages}
        yield setting, partial(flash, kernel, q, k, v, setting), right


def flash(
    kernel: Any, q: Tensor, k: Tensor, v: Tensor, setting: Setting
) -> Tensor:
    """Launch exercise 10.4's kernel on q, k and v (heads, length, width)."""
    N, T, D = q.shape
    out, lse = torch.empty_like(q), q.new_empty(N, T, dtype=torch.float32)
    strides = [n for x in (q, k, v, out) for n in x.stride()[:2]]
    kernel[(N, triton.cdiv(T, setting["BT"]))](
        q, k, v, out, lse, *strides, lse.stride(0), T, T,
        LOG2_E / D**0.5, D=D, DV=D, **setting,
    )  # fmt: skip
    return out


def wrong(call: Call, right: Tensor) -> str | None:
    """Run a call once; say what is wrong with it, or return None."""
    try:
        error = float((call().float() - right).norm() / right.norm())
    except Exception as refusal:
        lines = str(refusal).strip().splitlines() or [repr(refusal)]
        return lines[-1][:200]
    return None if error < TOLERANCE else f"relative error {error:.2g}"


def timed(
    name: str, calls: Iterator[tuple[Setting, Call, Tensor]], rounds: int
) -> list[dict[str, Any]]:
    """Check each setting, time the right ones in turn, return a row each."""
    rows: list[dict[str, Any]] = []
    right_ones: dict[str, Call] = {}
    for setting, call, right in calls:
        rows.append({"kernel": name, **setting})
        if reason := wrong(call, right):
            rows[-1]["why"] = reason
        else:
            right_ones[str(len(rows) - 1)] = call
    times = alternate(right_ones, torch.device(DEVICE), rounds)
    for i, ms in times.items():
        rows[int(i)]["ms"] = round(ms, 4)
    for row in sorted(rows, key=lambda row: row.get("ms", float("inf")))[:3]:
        print(row, flush=True)
    return rows


def main() -> None:
    """Time both kernels; write the record after each of them."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--mine", action="store_true", help="time your own answers"
    )
    parser.add_argument("--quick", action="store_true", help="only try it")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    if INTERPRETED and not options.quick:
        parser.error("needs a GPU, found none; --quick tries it without")
    if options.quick and options.out == OUT:
        parser.error(f"--quick: expected --out, another file than {OUT.name}")
    rows, flash_kernel = softmax_kernel, causal_kernel
    if options.mine:
        rows, flash_kernel = check.mine("9.3"), check.mine("10.4")
    widths, rounds = (WIDTHS, ROUNDS) if not options.quick else ((50,), 1)
    torch.manual_seed(0)
    record: dict[str, Any] = {
        "what": "kernels of chapters 9 and 10, median ms by block size",
        "mine": options.mine,
        "quick": options.quick,
        "provenance": provenance(DEVICE, " ".join(sys.argv)),
        "rows": [],
    }
    for width in widths:
        numbers = 200 if options.quick else NUMBERS
        calls = softmax_calls(rows, width, numbers)
        record["rows"] += timed("softmax", calls, rounds)
        write_json(options.out, record)
    size = (2, 64, SIDES[:2]) if options.quick else (HEADS, LENGTH, SIDES)
    calls = flash_calls(flash_kernel, *size)
    record["rows"] += timed("flash", calls, rounds)
    write_json(options.out, record)


if __name__ == "__main__":
    main()
