"""Benchmark of attention: every implementation, timed side by side."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from minidiff.bench import report
from minidiff.bench.accuracy import (
    check_again,
    gradient_error,
    relative_error,
)
from minidiff.bench.inputs import Inputs, Shape, check_parts, inputs
from minidiff.bench.integrity import check_unchanged, fingerprint
from minidiff.bench.peers import peers
from minidiff.bench.record import Run
from minidiff.bench.refusals import attempt, forward
from minidiff.bench.report import Column, Row, add_times

# Work credited to every differential peer, whatever it really executes, in
# units of T x S x D multiply-adds: forward alone, and forward with backward.
UNITS = (6, 16)

COLUMNS = (
    Column("forward_ratio", "forward", 8, 2),
    Column("train_ratio", "train", 7, 2),
    Column("forward_ms", "ms", 9, 3),
    Column("train_ms", "ms", 9, 3),
    Column("train_peak_mib", "MiB", 7, 0),
)


def shapes(
    tokens: int, hidden: int, widths: Sequence[int], lengths: Sequence[int]
) -> list[Shape]:
    """Return a shape for every width at every length.

    All shapes have ``tokens`` tokens in a batch and a layer of ``hidden``
    channels. Raises ValueError, naming the size, if one does not divide.
    """
    check_parts("length", lengths, "tokens", tokens)
    check_parts("width", widths, "hidden", hidden, times=2)
    return [
        Shape(B=tokens // T, H=hidden // (2 * D), T=T, D=D)
        for D in widths
        for T in lengths
    ]


def run(shapes: Sequence[Shape], how: Run) -> dict[str, Any]:
    """Time every peer at every shape; return the record.

    If a peer cannot run a shape, its row has "forward_error" or
    "train_error" instead of times. Raises ArithmeticError if a peer's result
    is wrong.
    """
    return how.record(
        shapes,
        measure,
        table,
        what="causal attention, one layer, all heads; medians",
        units=list(UNITS),
    )


def measure(
    shape: Shape, device: torch.device, dtype: torch.dtype, rounds: int
) -> Iterator[Row]:
    """Yield a row for each peer: milliseconds, ratio to plain, MiB, error.

    A row is yielded when its peer has run and is right; the times are added
    to all rows when all have been yielded. Raises ArithmeticError if a peer's
    result or gradient is wrong, then or after the timing with other inputs,
    or if it changes its inputs.
    """
    rows: list[Row] = []
    forwards: dict[str, Callable[[], object]] = {}
    trains: dict[str, Callable[[], object]] = {}
    drawn: dict[str, Inputs] = {}  # by kind, shared by its peers
    before: dict[str, tuple[int, ...]] = {}
    checks: dict[str, list[Callable[..., object]]] = {}
    for peer in peers(shape, device):
        kind = peer.kind
        row = {"peer": peer.name, "kind": kind, **shape._asdict()}
        rows.append(row)
        if kind not in drawn:
            drawn[kind] = inputs(kind, shape, device, dtype)
            before[kind] = fingerprint(drawn[kind])
            checks[kind] = []
        given = drawn[kind]
        for name, functions, make, key, judge in (
            ("forward", forwards, forward, "relative_error", relative_error),
            ("train", trains, _train, "gradient_error", gradient_error),
        ):
            call = make(peer.attend, given)
            peak, said = attempt(partial(_peak, call, device))
            if said is not None:
                row[f"{name}_error"] = said
                continue
            check_unchanged(peer.name, given, before[kind])
            row[f"{name}_peak_mib"] = peak
            check = partial(judge, peer, dtype=dtype)
            row[key] = check(given)
            functions[peer.name] = call
            checks[kind].append(check)
        yield row
    for name, functions in (("forward", forwards), ("train", trains)):
        add_times(name, rows, functions, device, rounds)
    for kind, given in drawn.items():
        names = ", ".join(r["peer"] for r in rows if r["kind"] == kind)
        check_unchanged(names, given, before[kind])
        draw = partial(inputs, kind, shape, device, dtype)
        check_again(checks[kind], given, draw)


def _train(
    attend: Callable[..., Tensor], given: Inputs
) -> Callable[[], tuple[Tensor, ...]]:
    def call() -> tuple[Tensor, ...]:
        out = attend(*given)
        return torch.autograd.grad(out, given, torch.ones_like(out))

    return call


def _peak(call: Callable[[], object], device: torch.device) -> int | None:
    """Run once; return the peak memory in MiB, beyond what was in use."""
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


def table(rows: Sequence[Row]) -> str:
    """Format the rows of one shape, fastest training first."""
    shape = Shape(*(rows[0][n] for n in Shape._fields))
    title = (
        f"B = {shape.B}, H = {shape.H} pairs, T = {shape.T}, D = {shape.D}; "
        "ratios to the faster plain"
    )
    return report.table(title, rows, COLUMNS, by="train_ms")
