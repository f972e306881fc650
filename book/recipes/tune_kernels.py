"""Time every block shape that compiles without a spill; write the table.

    python book/recipes/tune_kernels.py

Needs a GPU; minutes. Each candidate is held to float64 first. Writes what
was measured to book/results/tuning.json and the fastest shapes of this card
to minidiff/ops/triton/shapes.json, in place of the rows of its generation.
"""

import json
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from minidiff import diff_attention
from minidiff.bench.timing import alternate
from minidiff.ops.triton import launch_backward, launch_forward
from minidiff.ops.triton.launch import capability, shape_for
from minidiff.ops.triton.shapes import TABLE, Shape
from minidiff.provenance import provenance, write_json

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / "book" / "results" / "tuning.json"
TOKENS, HIDDEN = 16384, 2048
SIZES = [(64, 2), (128, 2), (64, 1), (128, 1)]  # D, P
LENGTHS = [1024, 4096, 16384]
ROUNDS = 10
SMALL = 256  # tokens on which a candidate is compiled and judged


def candidates(kernel: str, D: int) -> Iterator[Shape]:
    """Shapes worth a try on Hopper: those that fit, and their neighbours."""
    tiles = {
        ("forward", 64): [(64, 64, 4), (64, 128, 4), (64, 32, 4),
                          (128, 64, 8), (128, 128, 8), (128, 64, 4)],
        ("forward", 128): [(128, 64, 8), (64, 64, 4), (64, 32, 4),
                           (64, 64, 8), (128, 32, 8)],
        ("keys", 64): [(32, 64, 4), (32, 128, 8), (64, 64, 8), (32, 64, 8),
                       (64, 128, 8)],
        ("keys", 128): [(32, 64, 8), (32, 64, 4), (32, 128, 8)],
        ("values", 128): [(32, 128, 8), (32, 64, 4), (32, 64, 8),
                          (64, 64, 8)],
        ("queries", 64): [(64, 64, 4), (128, 64, 8), (64, 32, 4),
                          (128, 32, 8)],
        ("queries", 128): [(64, 32, 8), (64, 16, 4), (128, 16, 8),
                           (64, 64, 8), (128, 32, 8)],
    }  # fmt: skip
    both = (False, True) if kernel == "forward" else (False,)
    for (BT, BS, warps), stages, together in product(
        tiles.get((kernel, D), []), (1, 2, 3), both
    ):
        yield Shape(
            BT=BT,
            BS=BS,
            warps=warps,
            stages=stages,
            together=together,
            tma=True,
        )


def draw(D: int, P: int, T: int, tokens: int) -> dict[str, Any]:
    """Inputs as projections leave them; V2 has no norm."""
    B, H, dv = tokens // T, HIDDEN // (2 * D), D * P
    g = torch.Generator("cuda").manual_seed(0)

    def new(*shape: int) -> Tensor:
        return torch.randn(
            *shape, generator=g, device="cuda", dtype=torch.bfloat16
        )

    return {
        "q": new(B, T, H, 2, D).permute(0, 2, 3, 1, 4),
        "k": new(B, T, H, P, D).permute(0, 2, 3, 1, 4),
        "v": new(B, T, H, dv).transpose(1, 2),
        "lam": torch.full((B, H, T), 0.8, device="cuda"),
        "norm_weight": new(dv) if P == 2 else None,
    }


def functions(x: dict[str, Any], kernel: str, shape: Shape) -> Any:
    """Return what runs the forward or backward pass with one shape changed."""
    norm = None if x["norm_weight"] is None else 0.8
    given = (*x.values(), None)
    rest = (True, x["q"].shape[-1] ** -0.5, norm, 1e-5)
    if kernel == "forward":
        return lambda: launch_forward.forward(*given, *rest, True, shape)
    y, o, o2, lse = launch_forward.forward(*given, *rest, True)
    kept = (y if norm is None else o, o2, lse)
    names = ("keys", "values", "queries")
    shapes = {n: shape_for(n, *given[:3]) for n in names} | {kernel: shape}
    shapes = {n: s for n, s in shapes.items() if s}
    dy = torch.ones_like(y)
    return lambda: launch_backward.backward(
        dy, *given, *kept, *rest, shapes=shapes
    )


def judge(job: tuple[str, int, int, Shape]) -> str | None:
    """Compile one candidate on few tokens; what is wrong with it, if any."""
    kernel, D, P, shape = job
    x = draw(D, P, SMALL, SMALL)
    try:
        got = functions(x, kernel, shape)()
    except Exception as error:
        return (str(error).strip().splitlines() or [repr(error)])[-1][:200]
    norm = None if x["norm_weight"] is None else 0.8
    exact = {
        n: None if a is None else a.double().requires_grad_()
        for n, a in x.items()
    }
    y = diff_attention(**exact, norm_scale=norm, backend="eager")
    want = [y]
    if kernel != "forward":
        leaves = [exact[n] for n in "qkv"]
        want = torch.autograd.grad(y, leaves, torch.ones_like(y))
    for a, b in zip(got, want, strict=False):
        error = float((a.double() - b).norm() / b.norm())
        if not error < 0.02:
            return f"relative error {error:.2g}"
    return None


def main() -> None:
    """Compile side by side, time one by one, write the table."""
    jobs = [
        (kernel, D, P, shape)
        for D, P in SIZES
        for kernel in ("forward", "keys", "values", "queries")
        for shape in candidates(kernel, D)
    ]
    workers = min(12, os.cpu_count() or 1)
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        reasons = list(pool.map(judge, jobs))
    record: dict[str, Any] = {
        "what": "one kernel's shape changed, median ms of the whole pass",
        "provenance": provenance("cuda", " ".join(sys.argv)),
        "refused": [
            {"kernel": k, "D": D, "P": P, **asdict(s), "why": why}
            for (k, D, P, s), why in zip(jobs, reasons, strict=True)
            if why
        ],
        "rows": [],
    }
    good = [j for j, why in zip(jobs, reasons, strict=True) if not why]
    device = torch.device("cuda")
    for (D, P), T in product(SIZES, LENGTHS):
        x = draw(D, P, T, TOKENS)
        for kernel in ("forward", "keys", "values", "queries"):
            if shape_for(kernel, x["q"], x["k"], x["v"]) is None:
                continue  # dv is made where dk is
            calls = {
                json.dumps(asdict(s)): functions(x, kernel, s)
                for k, d, p, s in good
                if (k, d, p) == (kernel, D, P)
            }
            times = alternate(calls, device, ROUNDS)
            for name, ms in sorted(times.items(), key=lambda pair: pair[1]):
                row = {"kernel": kernel, "D": D, "P": P, "T": T}
                record["rows"].append(
                    row | json.loads(name) | {"ms": round(ms, 4)}
                )
            best = min(times.values(), default=0)
            print(f"{kernel:8s} D {D:3d} P {P} T {T:5d}  {best:.3f} ms")
        write_json(OUT, record)
    write_table(record)


def write_table(record: dict[str, Any]) -> None:
    """Put the fastest shapes before the rows that need no tuning."""
    card = capability(torch.device("cuda")) // 10 * 10
    old = json.loads(TABLE.read_text())["rows"]
    best: dict[tuple, dict] = {}
    for row in record["rows"]:
        key = tuple(row[n] for n in ("kernel", "D", "P", "T"))
        if key not in best or row["ms"] < best[key]["ms"]:
            best[key] = row
    fields = ("BT", "BS", "warps", "stages", "together", "tma")
    new = []
    for (kernel, D, P, T), row in best.items():
        case = {"kernel": kernel, "D": D, "DV": D * P, "P": P, "bits": 16}
        case |= {"capability": card, "below": 120}
        if max(LENGTHS) > T:
            case["length"] = 2 * T
        new.append({"case": case, "shape": {n: row[n] for n in fields}})
    kept = [
        row
        for row in old
        if row["shape"] is None
        or (row["case"]["capability"], "P" in row["case"]) != (card, True)
    ]
    # The first row that is wide enough is taken: the narrow ones go first.
    rows = sorted(
        [*new, *kept], key=lambda row: (row["case"]["D"], row["case"]["DV"])
    )
    write_json(TABLE, {"provenance": record["provenance"], "rows": rows})


if __name__ == "__main__":
    main()
