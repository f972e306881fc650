"""``minidiff bench attention``: all ways to attend, side by side."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from minidiff.bench.peers import Inputs, Peer, Shape, inputs, peers
from minidiff.bench.timing import alternate
from minidiff.provenance import provenance, write_json

# What every differential peer is judged by, whatever it really spends: units
# of T x S x D multiply-adds forward, and forward with backward.
UNITS = (6, 16)
TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 3e-2, torch.float16: 1e-2}


def shapes(
    tokens: int, hidden: int, widths: Sequence[int], lengths: Sequence[int]
) -> list[Shape]:
    """Every width at every length, with ``tokens`` and ``hidden`` kept.

    Raises ValueError, naming it, for a size that does not divide.
    """
    for name, sizes, whole, parts in (
        ("length", lengths, "tokens", tokens),
        ("width", [2 * D for D in widths], "hidden", hidden),
    ):
        for n in sizes:
            if n < 1 or parts < 1 or parts % n:
                twice = "twice the " if name == "width" else ""
                raise ValueError(
                    f"--{whole}: got {parts}, expected a multiple of "
                    f"{twice}--{name}, {n}"
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
    kept if the run is stopped. A peer that cannot run a shape has "error"
    in place of its times.
    """
    if rounds < 1:
        raise ValueError(f"--rounds: got {rounds}, expected 1 or more")
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
        rows = measure(shape, device, dtype, rounds)
        record["rows"] += rows
        say(table(rows))
        if out is not None:
            write_json(out, record)
    return record


def measure(
    shape: Shape, device: torch.device, dtype: torch.dtype, rounds: int
) -> list[dict[str, Any]]:
    """One row a peer: milliseconds, ratio to plain, memory, error."""
    rows, forward, train = [], {}, {}
    for peer in peers(shape, device):
        row = {"peer": peer.name, "kind": peer.kind, **shape._asdict()}
        rows.append(row)
        given = inputs(peer.kind, shape, device, dtype)
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
            except (RuntimeError, NotImplementedError) as error:
                row[f"{name}_error"] = str(error).strip().splitlines()[0][:200]
                continue
            functions[peer.name] = call
        if peer.name in forward:
            row["relative_error"] = _error(peer, given, dtype)
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


def _error(peer: Peer, given: Inputs, dtype: torch.dtype) -> float:
    """Relative L2 error of one head against float64, of a short prefix.

    A causal prefix needs nothing of what follows, so a few rows judge the
    function at any length. Raises ArithmeticError for a peer that is wrong.
    """
    rows = 256
    with torch.no_grad():
        got = peer.attend(*given)[:1, :, :rows].double()
        want = exact(peer.kind, [_prefix(x, rows) for x in given])
    error = float((got - want).norm() / want.norm())
    if not error < TOLERANCE[dtype]:
        raise ArithmeticError(
            f"{peer.name}: relative error {error:.2g}, expected less than "
            f"{TOLERANCE[dtype]:.2g}"
        )
    return float(f"{error:.2e}")


def _prefix(x: Tensor, rows: int) -> Tensor:
    """The first batch row and tokens of an input, in float64."""
    if x.ndim < 3:  # lambda of a layer, weight of the norm
        return x.double()
    return (x[:1, :, :rows] if x.ndim < 5 else x[:1, :, :, :rows]).double()


def exact(kind: str, given: Sequence[Tensor]) -> Tensor:
    """What every peer of a kind computes, from minidiff's own operator."""
    from minidiff import diff_attention

    if kind in ("plain", "base"):
        q, k, v = given
        q, k = (torch.stack([x, x], 2) for x in (q, k))
        return diff_attention(q, k, v, 0.0, backend="eager")
    if kind == "v2":
        q, k, v, s = given
        lam = s[..., 0].sigmoid()
        return diff_attention(q, k[:, :, None], v, lam, backend="eager")
    q, k, v, lam, weight = given
    return diff_attention(
        q, k, v, lam, norm_scale=0.8, norm_weight=weight, backend="eager"
    )


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Rows of one shape as text, fastest training first, ratios first."""
    shape = Shape(*(rows[0][n] for n in Shape._fields))
    lines = [
        f"B = {shape.B}, H = {shape.H} pairs, T = {shape.T}, D = {shape.D}; "
        "ratios to the faster plain",
        f"{'peer':20s} {'forward':>8s} {'train':>7s} {'ms':>9s} {'ms':>9s} "
        f"{'MiB':>7s}",
    ]
    for row in sorted(rows, key=lambda r: r.get("train_ms", float("inf"))):
        lines.append(" ".join(_cells(row)).rstrip())
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
