"""Measure one attention layer at up to 65,536 tokens: time and peak memory.

    python book/recipes/long_kernel.py
    python book/recipes/long_kernel.py --quick --out tried.json

One row of text, 8 differential heads with branches of width 64 (16 plain
heads), bfloat16, causal. Compared are the fused differential kernels, plain
attention on cuDNN and on FlashAttention, and differential attention that
stores its maps. Each is compared with float64 on the first 256 tokens before
it is timed. What does not run, for want of memory for instance, is recorded
with the reason. Needs a GPU; ``--quick`` tries the recipe on tiny tensors,
also in Triton's interpreter, whose times mean nothing.
"""

from collections.abc import Callable, Iterator
from functools import partial

import torch

# First, because it turns Triton's interpreter on where there is no GPU.
from gpu_command import gpu_run  # isort: skip

from minidiff.bench import report
from minidiff.bench.accuracy import gradient_error, relative_error
from minidiff.bench.inputs import Inputs, Shape, inputs
from minidiff.bench.peak_memory import Meter
from minidiff.bench.peers import OURS, Peer, peers
from minidiff.bench.refusals import attempt, forward
from minidiff.bench.report import Column, Row, add_times

LENGTHS = (4_096, 8_192, 16_384, 32_768, 65_536)
NAMES = ("diff/triton", "plain/cudnn", "plain/flash", "diff/naive")
COLUMNS = (
    Column("forward_ms", "forward ms", 11, 3),
    Column("train_ms", "train ms", 11, 3),
    Column("forward_peak_mib", "MiB", 9, 2),
    Column("train_peak_mib", "train MiB", 11, 2),
)


def chosen(shape: Shape, device: torch.device) -> list[Peer]:
    """Return the implementations to compare; off a GPU, what runs there."""
    # The mask that FlexAttention gets is for a short row, because a long one
    # takes gigabytes; FlexAttention is not among the chosen.
    found = {p.name: p for p in peers(shape._replace(T=256), device)}
    if device.type == "cuda":
        return [found[name] for name in NAMES]
    return [OURS[0], found["plain/sdpa"], found["diff/naive"]]


def training(
    attend: Callable[..., torch.Tensor], given: Inputs
) -> Callable[[], object]:
    """Return forward and backward as a call, to be timed."""

    def call() -> object:
        out = attend(*given)
        return torch.autograd.grad(out, given, torch.ones_like(out))

    return call


def peak_mib(call: Callable[[], object], device: torch.device) -> float:
    """Run once; return the peak memory in MiB beyond what was in use."""
    if device.type != "cuda":
        with Meter() as meter:
            call()
        return meter.peak / 2**20
    call()  # compiling and tuning allocate too
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    call()
    torch.cuda.synchronize()
    return (torch.cuda.max_memory_allocated() - before) / 2**20


def measure(
    shape: Shape, device: torch.device, dtype: torch.dtype, rounds: int
) -> Iterator[Row]:
    """Yield a row for each implementation; times are added at the end."""
    rows: list[Row] = []
    forwards: dict[str, Callable[[], object]] = {}
    trains: dict[str, Callable[[], object]] = {}
    for peer in chosen(shape, device):
        row: Row = {"peer": peer.name, "kind": peer.kind, **shape._asdict()}
        rows.append(row)
        given = inputs(peer.kind, shape, device, dtype)
        for name, calls, make, key, error in (
            ("forward", forwards, forward, "relative_error", relative_error),
            ("train", trains, training, "gradient_error", gradient_error),
        ):
            call = make(peer.attend, given)
            peak, refusal = attempt(partial(peak_mib, call, device))
            if peak is None:
                row[f"{name}_error"] = refusal
                continue
            row[f"{name}_peak_mib"] = round(peak, 3)
            row[key] = error(peer, given, dtype=dtype)
            calls[peer.name] = call
        yield row
    for name, calls in (("forward", forwards), ("train", trains)):
        add_times(name, rows, calls, device, rounds)


def table(rows: list[Row]) -> str:
    """Format the rows of one length."""
    title = (
        f"B = 1, H = {rows[0]['H']}, T = {rows[0]['T']}, D = {rows[0]['D']}"
    )
    return report.table(title, rows, COLUMNS, by="forward_ms")


def main() -> None:
    """Measure every length; write the record after each of them."""
    run, quick = gpu_run(__doc__, "long_kernel.json")
    shapes = [Shape(B=1, H=8, T=T, D=64) for T in LENGTHS]
    if quick:
        shapes = [Shape(B=1, H=1, T=T, D=16) for T in (32, 64)]
    run.record(
        shapes,
        measure,
        table,
        what="one layer of attention by length, medians and peak memory",
        quick=quick,
    )


if __name__ == "__main__":
    main()
