"""Benchmark of decoding: one new token against a cache, side by side.

Python launches the kernels while the GPU is still clearing its cache. So the
launch is not part of the measured time, and no CUDA graph is needed.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from minidiff.bench import report
from minidiff.bench.accuracy import check_again, ends, relative_error
from minidiff.bench.decode_peers import peers
from minidiff.bench.inputs import (
    CACHE_SEED,
    Inputs,
    Step,
    cached,
    check_parts,
    check_sizes,
)
from minidiff.bench.integrity import check_unchanged, fingerprint
from minidiff.bench.peers import Peer
from minidiff.bench.record import Run
from minidiff.bench.refusals import attempt, forward
from minidiff.bench.report import Column, Row, add_times
from minidiff.bench.timing import alternate

KINDS = ("plain", "base", "diff", "v2")

COLUMNS = (
    Column("decode_ratio", "decode", 8, 2),
    Column("decode_ms", "ms", 9, 4),
    Column("gb_per_s", "GB/s", 8, 1),
)


def steps(
    hidden: int,
    widths: Sequence[int],
    lengths: Sequence[int],
    batches: Sequence[int],
) -> list[Step]:
    """Return a step for every width, length of the cache and batch size.

    Raises ValueError, naming the size, if one does not fit.
    """
    check_sizes("length", lengths)
    check_sizes("batch", batches)
    check_parts("width", widths, "hidden", hidden, times=2)
    return [
        Step(B=B, H=hidden // (2 * D), S=S, D=D)
        for D in widths
        for S in lengths
        for B in batches
    ]


def run(steps: Sequence[Step], how: Run) -> dict[str, Any]:
    """Time every peer at every step; return the record.

    If a peer cannot run a step, or runs out of memory, its row has
    "decode_error" instead of a time. Raises ArithmeticError if a peer's
    result is wrong.
    """
    return how.record(
        steps,
        measure,
        table,
        what="one query a row against a cache, one layer, all heads; medians",
        queries=1,
        cache_seed=CACHE_SEED,
    )


def measure(
    step: Step, device: torch.device, dtype: torch.dtype, rounds: int
) -> Iterator[Row]:
    """Yield a row for each peer: milliseconds, ratio to plain, GB/s, error.

    A row is yielded when its peer has run and is right; the times are added
    to all rows when all have been yielded. GB/s is the size of the cache
    divided by the time, as if the peer read the cache exactly once. Raises
    ArithmeticError if a peer's result is wrong, then or after the timing with
    other inputs, or if it changes its inputs. If there is no memory for other
    inputs, "again_error" says so.
    """
    rows: list[Row] = []
    calls: dict[str, Callable[[], object]] = {}
    # Draw all inputs before any run, as for the timing, so that the same
    # amount of memory is left.
    drawn = {
        kind: attempt(partial(cached, kind, step, device, dtype))
        for kind in KINDS
    }
    before = {
        kind: () if given is None else fingerprint(given)
        for kind, (given, _) in drawn.items()
    }
    checks: dict[str, list[Callable[..., object]]] = {k: [] for k in KINDS}
    ran = set()
    for peer in peers(device):
        form, kernel = peer.name.split("/")
        if kernel == "math" and form in ran:
            continue  # use PyTorch's own fallback only if no kernel ran
        row = {"peer": peer.name, "kind": peer.kind, **step._asdict()}
        rows.append(row)
        given, said = drawn[peer.kind]
        if given is not None:
            call = forward(peer.attend, given)
            check = partial(relative_error, peer, dtype=dtype, part=ends)
            error, said = attempt(
                partial(_judged, peer, call, given, device, check)
            )
        if said is not None:
            row["decode_error"] = said
        else:
            row["relative_error"] = error
            calls[peer.name] = call
            checks[peer.kind].append(check)
            ran.add(form)
        yield row
    add_times("decode", rows, calls, device, rounds)
    for row in rows:
        given, _ = drawn[row["kind"]]
        if "decode_ms" in row and given is not None:
            _, k, v, *_ = given
            gb = (k.nbytes + v.nbytes) / 1e9
            row["gb_per_s"] = round(1e3 * gb / row["decode_ms"], 1)
    for kind, (given, _) in drawn.items():
        mine = [r for r in rows if r["kind"] == kind and "decode_ms" in r]
        if given is None or not mine:
            continue
        names = ", ".join(r["peer"] for r in mine)
        check_unchanged(names, given, before[kind])
        draw = partial(cached, kind, step, device, dtype)
        _, said = attempt(partial(check_again, checks[kind], given, draw))
        if said is not None:
            for row in mine:
                row["again_error"] = f"not checked again: {said}"


def _judged(
    peer: Peer,
    call: Callable[[], Tensor],
    given: Inputs,
    device: torch.device,
    check: Callable[..., float],
) -> float:
    """Run once as in the timing, then return the relative error."""
    before = fingerprint(given)
    alternate({peer.name: call}, device, 1)
    check_unchanged(peer.name, given, before)
    return check(given)


def table(rows: Sequence[Row]) -> str:
    """Format the rows of one step as text, fastest first."""
    step = Step(*(rows[0][n] for n in Step._fields))
    title = (
        f"B = {step.B}, H = {step.H} pairs, S = {step.S} keys, D = {step.D}; "
        "ratios to the fastest plain"
    )
    return report.table(title, rows, COLUMNS, by="decode_ms")
