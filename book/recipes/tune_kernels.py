"""Time all block shapes that compile and are correct; write the table.

    python book/recipes/tune_kernels.py
    python book/recipes/tune_kernels.py --widths 16 32 \
        --out book/results/tuning_narrow.json

Needs a GPU and takes minutes; ``--widths`` tunes only some head widths. Each
candidate is first checked against float64, in a separate process, so that one
that crashes or hangs does not stop the others. Writes the measurements to
``--out`` and the fastest shapes for this GPU to
minidiff/ops/triton/shapes.json, where they replace the rows of the same widths
for GPUs of its generation.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, replace
from functools import partial
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from minidiff import diff_attention
from minidiff.bench.timing import alternate
from minidiff.files.json import write_json
from minidiff.files.provenance import provenance
from minidiff.ops.arguments import Arguments
from minidiff.ops.triton.hopper import keys as hopper_keys
from minidiff.ops.triton.hopper import queries as hopper_queries
from minidiff.ops.triton.kernels.backward import keys_kernel, queries_kernel
from minidiff.ops.triton.kernels.decode import decode_kernel
from minidiff.ops.triton.kernels.forward import forward_kernel
from minidiff.ops.triton.launch import backward as launch_backward
from minidiff.ops.triton.launch import decode as launch_decode
from minidiff.ops.triton.launch import forward as launch_forward
from minidiff.ops.triton.launch.common import capability, shape_for
from minidiff.ops.triton.tuning import TABLE, Shape

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / "book" / "results" / "tuning.json"
TOKENS, HIDDEN = 16384, 2048
LENGTHS = [1024, 4096, 16384]
SIZES = {  # D, P: lengths; narrow heads are those of small models
    (16, 2): [512, 2048],
    (32, 2): [512, 2048],
    (64, 2): LENGTHS,
    (128, 2): LENGTHS,
    (64, 1): LENGTHS,
    (128, 1): LENGTHS,
}
CACHES = [(1, 16384), (8, 16384)]  # batch, keys: sizes to tune decode on
ROUNDS = 10
SMALL = 256  # tokens on which a candidate is compiled and checked
TOLERATED = 4  # spilled registers: negligible, and versions differ
PATIENCE = 120  # seconds for one candidate, compilation included
KERNELS = ("forward", "keys", "values", "queries", "decode")


class Job(NamedTuple):
    """One candidate; ``apart`` means dk and dv in separate kernels."""

    kernel: str
    D: int
    P: int
    shape: Shape
    apart: bool = False


NARROW = {  # BT, BS, warps of heads of width 16 and 32
    "forward": [(64, 64, 4), (64, 128, 4), (64, 32, 4), (128, 64, 4),
                (128, 64, 8), (128, 128, 8)],
    "keys": [(32, 64, 4), (32, 128, 4), (64, 64, 4), (64, 128, 4),
             (64, 128, 8), (128, 64, 4)],
    "queries": [(64, 64, 4), (64, 32, 4), (128, 64, 4), (128, 64, 8),
                (128, 32, 4), (64, 128, 4)],
}  # fmt: skip
TILES = {  # BT, BS, warps
    **{(kernel, D): NARROW[kernel] for kernel in NARROW for D in (16, 32)},
    ("forward", 64): [(64, 64, 4), (64, 128, 4), (64, 32, 4), (128, 64, 8),
                      (128, 128, 8)],
    ("forward", 128): [(128, 64, 8), (64, 64, 4), (64, 32, 4), (64, 64, 8),
                       (128, 32, 8)],
    ("keys", 64): [(32, 64, 4), (32, 128, 8), (64, 64, 8), (64, 64, 4),
                   (64, 128, 8)],
    ("keys", 128): [(32, 64, 8), (32, 64, 4), (32, 128, 8)],
    ("values", 128): [(32, 128, 8), (32, 64, 4), (64, 64, 8), (64, 64, 4),
                      (64, 128, 8)],
    ("queries", 64): [(64, 64, 4), (128, 64, 8), (64, 32, 4), (128, 32, 8)],
    ("queries", 128): [(64, 32, 8), (64, 16, 4), (128, 16, 8), (64, 64, 8),
                       (128, 32, 8), (64, 32, 4)],
    ("decode", 64): [(16, 32, 1), (16, 32, 2), (16, 64, 2), (16, 64, 4),
                     (16, 128, 4)],
    ("decode", 128): [(16, 32, 2), (16, 32, 4), (16, 64, 4), (16, 16, 1),
                      (16, 16, 2)],
}  # fmt: skip


ROLES = {  # BT, BS, stages of warp-specialised kernels
    ("keys", 64): [(32, 64, 3), (64, 64, 2), (64, 64, 3)],
    # Three stages at D = 128 are no faster, and spill with Triton 3.7.1.
    ("keys", 128): [(32, 64, 2), (64, 64, 2)],
    ("values", 128): [(32, 64, 2), (32, 64, 3), (64, 64, 2)],
    ("queries", 64): [(64, 64, 2), (64, 64, 3), (64, 128, 2)],
    ("queries", 128): [(64, 32, 2), (64, 64, 2)],
}


def candidates(kernel: str, D: int, P: int) -> Iterator[Job]:
    """Yield the candidates to try on Hopper."""
    wide = D * P > 128
    if kernel != "values" or wide:
        for BT, BS, stages in ROLES.get((kernel, D), []):
            shape = Shape(BT=BT, BS=BS, warps=4, stages=stages, roles=True)
            yield Job(kernel, D, P, shape, wide and kernel != "queries")
    for (BT, BS, warps), stages in product(
        TILES.get((kernel, D), []), (1, 2, 3, 4)
    ):
        if stages not in {"values": (1, 2), "decode": (2, 3, 4)}.get(
            kernel, (2, 3)
        ):
            continue
        shape = Shape(
            BT=BT, BS=BS, warps=warps, stages=stages, tma=kernel != "decode"
        )
        job = Job(kernel, D, P, shape)
        # Values of width 2D at D = 128 need half of all registers, so dk and
        # dv are computed in separate kernels.
        if kernel != "values" or wide:
            yield job._replace(apart=wide and kernel in ("keys", "values"))
        if kernel == "forward":
            yield job._replace(shape=replace(shape, together=True))
        if kernel == "keys" and wide:
            yield job


def draw(D: int, P: int, T: int, B: int) -> dict[str, Any]:
    """Draw inputs with the strides of projections' outputs; V2: no norm."""
    H, dv = HIDDEN // (2 * D), D * P
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


def last_query(x: dict[str, Any]) -> dict[str, Any]:
    """Return the inputs of the decoding step of the last token."""
    return {**x, "q": x["q"][:, :, :, -1:], "lam": x["lam"][..., -1:]}


def pass_with(x: dict[str, Any], job: Job) -> Callable[[], Any]:
    """Return a call that runs the pass with the job's block shape."""
    norm = None if x["norm_weight"] is None else 0.8
    given = Arguments(**x, scale=x["q"].shape[-1] ** -0.5, norm_scale=norm)
    if job.kernel == "decode":
        return partial(launch_decode.decode, given, shape=job.shape)
    if job.kernel == "forward":
        return partial(launch_forward.forward, given, True, job.shape)
    y, o, o2, lse = launch_forward.forward(given, True)
    kept = (y if norm is None else o, o2, lse)
    shapes = {
        name: shape
        for name in ("keys", "values", "queries")
        if (shape := shape_for(name, given)) is not None
    }
    if job.kernel == "keys" and not job.apart:
        shapes.pop("values", None)
    shapes[job.kernel] = job.shape
    dy = torch.ones_like(y)
    return partial(launch_backward.backward, dy, given, *kept, shapes=shapes)


def judge(job: Job) -> str | None:
    """Compile and check one candidate; return what is wrong, or None."""
    try:
        return _judge(job)
    except Exception as error:
        return (str(error).strip().splitlines() or [repr(error)])[-1][:200]


def spilled() -> int:
    """Return the number of spilled registers of all kernels compiled yet."""
    kernels = [forward_kernel, decode_kernel, keys_kernel, queries_kernel]
    kernels += [hopper_keys.keys_kernel, hopper_queries.queries_kernel]
    return sum(
        getattr(compiled, "n_spills", 0)  # not set if loading failed
        for kernel in kernels
        for caches in kernel.device_caches.values()
        for compiled in caches[0].values()
    )


def _judge(job: Job) -> str | None:
    x = draw(job.D, job.P, SMALL, 1)
    if job.kernel == "decode":
        x = last_query(x)
    run = pass_with(x, job)
    before = spilled()
    got = run()
    if spilled() - before > TOLERATED:
        return f"spills {spilled() - before} registers"
    norm = None if x["norm_weight"] is None else 0.8
    exact = {
        n: None if a is None else a.double().requires_grad_()
        for n, a in x.items()
    }
    y = diff_attention(**exact, norm_scale=norm, backend="eager")
    want = [y]
    if job.kernel in ("keys", "values", "queries"):
        leaves = [exact[n] for n in "qkv"]
        want = torch.autograd.grad(y, leaves, torch.ones_like(y))
    got = [got] if job.kernel == "decode" else got
    for a, b in zip(got, want, strict=False):
        b = b.detach()
        error = float((a.double() - b).norm() / b.norm())
        if not error < 0.02:
            return f"relative error {error:.2g}"
    return None


def judge_all(jobs: Sequence[Job]) -> list[str | None]:
    """Check in parallel; repeat alone the jobs of a process that died."""
    reasons = _judge_in(jobs, min(14, os.cpu_count() or 1), None)
    again = [i for i, why in enumerate(reasons) if why and "CUDA" in why]
    alone = _judge_in([jobs[i] for i in again], 4, 1)
    for i, why in zip(again, alone, strict=True):
        reasons[i] = why
    return reasons


def _judge_in(
    jobs: Sequence[Job], workers: int, each: int | None
) -> list[str | None]:
    reasons: list[str | None] = []
    pool = ProcessPoolExecutor(
        workers, get_context("spawn"), max_tasks_per_child=each
    )
    results = [pool.submit(judge, job) for job in jobs]
    for result in results:
        try:
            reasons.append(result.result(timeout=PATIENCE))
        except Exception as error:  # the process died or timed out
            reasons.append(f"CUDA process: {error!r}"[:200])
    pool.shutdown(wait=False, cancel_futures=True)
    return reasons


def main() -> None:
    """Compile in parallel, time one by one, write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    every = sorted({D for D, _ in SIZES})
    parser.add_argument(
        "--widths", type=int, nargs="+", choices=every, default=every
    )
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    sizes = {key: at for key, at in SIZES.items() if key[0] in options.widths}
    jobs = [
        job
        for D, P in sizes
        for kernel in KERNELS
        for job in candidates(kernel, D, P)
    ]
    reasons = judge_all(jobs)
    good = [j for j, why in zip(jobs, reasons, strict=True) if not why]
    record: dict[str, Any] = {
        "what": "one kernel's shape changed, median ms of the whole pass",
        "provenance": provenance("cuda", " ".join(sys.argv)),
        "refused": [
            row(job) | {"why": why}
            for job, why in zip(jobs, reasons, strict=True)
            if why
        ],
        "rows": [],
    }
    print(f"{len(good)} of {len(jobs)} candidates are right")
    for (D, P), lengths in sizes.items():
        for T in lengths:
            x = draw(D, P, T, TOKENS // T)
            for kernel in KERNELS[:-1]:
                record["rows"] += timed(good, kernel, D, P, x, {"T": T})
        for B, S in CACHES:
            x = last_query(draw(D, P, S, B))
            record["rows"] += timed(
                good, "decode", D, P, x, {"T": S, "batch": B}
            )
        write_json(options.out, record)
    write_table(record)


def row(job: Job) -> dict[str, Any]:
    """Return a candidate as a row of the record."""
    return {
        "kernel": job.kernel,
        "D": job.D,
        "P": job.P,
        "apart": job.apart,
        **asdict(job.shape),
    }


def timed(
    good: Sequence[Job],
    kernel: str,
    D: int,
    P: int,
    x: dict[str, Any],
    where: dict[str, int],
) -> list[dict[str, Any]]:
    """Time all candidates of one kernel on one set of inputs; return rows."""
    some = [j for j in good if (j.kernel, j.D, j.P) == (kernel, D, P)]
    if not some:
        return []
    calls = {str(i): pass_with(x, job) for i, job in enumerate(some)}
    times = alternate(calls, torch.device("cuda"), ROUNDS)
    rows = [
        row(some[int(i)]) | where | {"ms": round(ms, 4)}
        for i, ms in sorted(times.items(), key=lambda pair: pair[1])
    ]
    print(f"{kernel:8s} D {D:3d} P {P} {where}")
    for r in rows[:4]:
        how = "together" if r["together"] else "apart" if r["apart"] else ""
        print(
            f"   {r['ms']:.4f} ms  {r['BT']} x {r['BS']}, {r['warps']}, "
            f"{r['stages']} {how}"
        )
    return rows


def write_table(record: dict[str, Any]) -> None:
    """Write the fastest shapes before the rows that are not tuned.

    The latter are kept for GPUs that were not timed and for versions of
    Triton without Gluon, and so are tuned rows of other widths.
    """
    card = capability(torch.device("cuda")) // 10 * 10
    best: dict[tuple, dict] = {}
    for r in record["rows"]:
        if r.get("batch", 8) != 8:
            continue
        key = tuple(r[n] for n in ("kernel", "D", "P", "T"))
        if key not in best or r["ms"] < best[key]["ms"]:
            best[key] = r
    fields = ("BT", "BS", "warps", "stages", "together", "tma", "roles")
    new = []
    for (kernel, D, P, T), r in best.items():
        case = {"kernel": kernel, "D": D, "DV": D * P, "P": P, "bits": 16}
        case |= {"capability": card, "below": 100 if r["roles"] else 120}
        case |= {"tuned": True}
        if max(SIZES[D, P]) > T:
            case["length"] = 2 * T
        together = kernel == "values" and not best["keys", D, P, T]["apart"]
        shape = None if together else {n: r[n] for n in fields}
        new.append({"case": case, "shape": shape})
    timed_now = {(D, P) for _, D, P, _ in best}
    kept = [
        r
        for r in json.loads(TABLE.read_text())["rows"]
        if not r["case"].get("tuned")
        or r["case"]["capability"] != card
        or (r["case"]["D"], r["case"]["P"]) not in timed_now
    ]
    # The first row that is wide enough is used, so sort by width.
    rows = sorted(
        [*new, *kept], key=lambda r: (r["case"]["D"], r["case"]["DV"])
    )
    write_json(TABLE, {"provenance": record["provenance"], "rows": rows})


if __name__ == "__main__":
    main()
