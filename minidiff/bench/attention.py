"""``minidiff bench attention``: all ways to attend, side by side."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from minidiff.bench.inputs import Inputs, Shape, inputs
from minidiff.bench.judge import relative_error
from minidiff.bench.peers import peers
from minidiff.bench.timing import alternate
from minidiff.provenance import provenance, write_json

# What every differential peer is judged by, whatever it really spends: units
# of T x S x D multiply-adds forward, and forward with backward.
UNITS = (6, 16)


def shapes(
    tokens: int, hidden: int, widths: Sequence[int], lengths: Sequence[int]
) -> list[Shape]:
    """Every width at every length, with ``tokens`` and ``hidden`` kept.

    Raises ValueError, naming it, for a size that does not divide.
    """
    for name, sizes, whole, total, times in (
        ("length", lengths, "tokens", tokens, 1),
        ("width", widths, "hidden", hidden, 2),
    ):
        for size in sizes:
            if size < 1:
                raise ValueError(f"--{name}: got {size}, expected 1 or more")
            if total < 1 or total % (times * size):
                raise ValueError(
                    f"--{whole}: got {total}, expected a multiple of "
                    f"{times * size}, {times} times --{name}"
                )
    return [
        Shape(B=tokens // T, H=hidden // (2 * D), T=T, D=D)
        for D in widths
        for T in lengths
    ]


def run(
    shapes: Sequence[Shape],
    *,
    device: torch.device,
    dtype: torch.dtype,
    rounds: int,
    command: str,
    out: Path | None = None,
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Time every peer at every shape; return the record.

    It is written to ``out`` after each shape, so that what was measured is
    kept if the run is stopped. A peer that cannot run a shape has
    "forward_error" or "train_error" in place of its times.

    Raises ValueError for rounds below 1, and ArithmeticError for a peer that
    computes something else.
    """
    if rounds < 1:
        raise ValueError(f"--rounds: got {rounds}, expected 1 or more")
    gpu = device.type == "cuda"
    record = {
        "what": "causal attention, one layer, all heads; medians",
        "provenance": provenance(str(device), command),
        "setting": {
            "dtype": str(dtype).removeprefix("torch."),
            "causal": True,
            "rounds": rounds,
            "seed": 0,
            "units": list(UNITS),
        },
        "rows": [],
    }
    for shape in shapes:
        # Events, memory counts and masks belong to the current GPU.
        with torch.cuda.device(device) if gpu else nullcontext():
            rows = measure(shape, device, dtype, rounds)
        record["rows"] += rows
        say(table(rows))
        if out is not None:
            write_json(out, record)
    return record


def measure(
    shape: Shape, device: torch.device, dtype: torch.dtype, rounds: int
) -> list[dict[str, Any]]:
    """One row a peer: milliseconds, ratio to plain, memory, error.

    Raises ArithmeticError for a peer that computes something else.
    """
    rows, forward, train = [], {}, {}
    drawn: dict[str, Inputs] = {}  # by kind: peers of a kind share them
    for peer in peers(shape, device):
        row = {"peer": peer.name, "kind": peer.kind, **shape._asdict()}
        rows.append(row)
        if peer.kind not in drawn:
            drawn[peer.kind] = inputs(peer.kind, shape, device, dtype)
        given = drawn[peer.kind]
        for name, functions, make in (
            ("forward", forward, _forward),
            ("train", train, _train),
        ):
            call = make(peer.attend, given)
            try:
                with warnings.catch_warnings():
                    # A kernel that refuses warns before it raises.
                    warnings.simplefilter("ignore")
                    row[f"{name}_peak_mib"] = _peak(call, device)
            except RuntimeError as error:
                first, *_ = str(error).strip().splitlines() or [repr(error)]
                row[f"{name}_error"] = first[:200]
                continue
            functions[peer.name] = call
        if peer.name in forward:
            row["relative_error"] = relative_error(peer, given, dtype)
    for name, functions in (("forward", forward), ("train", train)):
        times = alternate(functions, device, rounds)
        plain = min(
            (t for n, t in times.items() if n.startswith("plain/")),
            default=None,
        )
        for row in rows:
            if row["peer"] in times:
                ms = times[row["peer"]]
                row[f"{name}_ms"] = round(ms, 4)
                row[f"{name}_ratio"] = plain and round(ms / plain, 3)
    return rows


def _forward(
    attend: Callable[..., Tensor], given: Inputs
) -> Callable[[], Tensor]:
    def call() -> Tensor:
        with torch.no_grad():
            return attend(*given)

    return call


def _train(
    attend: Callable[..., Tensor], given: Inputs
) -> Callable[[], tuple[Tensor, ...]]:
    def call() -> tuple[Tensor, ...]:
        out = attend(*given)
        return torch.autograd.grad(out, given, torch.ones_like(out))

    return call


def _peak(call: Callable[[], object], device: torch.device) -> int | None:
    """Run once; MiB allocated at the height of it, beyond what was there."""
    if device.type != "cuda":
        call()
        return None
    call()  # compiling and tuning allocate too
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    call()
    torch.cuda.synchronize()
    return (torch.cuda.max_memory_allocated() - before) >> 20


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Rows of one shape as text, fastest training first, ratios first.

    A peer that could not run shows what it said.
    """
    shape = Shape(*(rows[0][n] for n in Shape._fields))
    lines = [
        f"B = {shape.B}, H = {shape.H} pairs, T = {shape.T}, D = {shape.D}; "
        "ratios to the faster plain",
        f"{'peer':20s} {'forward':>8s} {'train':>7s} {'ms':>9s} {'ms':>9s} "
        f"{'MiB':>7s}",
    ]
    for row in sorted(rows, key=lambda r: r.get("train_ms", float("inf"))):
        lines.append(" ".join(_cells(row)).rstrip())
        problem = row.get("forward_error") or row.get("train_error")
        if problem:
            lines.append(f"  {problem[:75]}")
    return "\n".join(lines) + "\n"


def _cells(row: dict[str, Any]) -> Iterator[str]:
    yield f"{row['peer']:20s}"
    for key, width, places in (
        ("forward_ratio", 8, 2),
        ("train_ratio", 7, 2),
        ("forward_ms", 9, 3),
        ("train_ms", 9, 3),
        ("train_peak_mib", 7, 0),
    ):
        value = row.get(key)
        yield (
            f"{'-':>{width}s}"
            if value is None
            else (f"{value:{width}.{places}f}")
        )
