"""Time decoding from a cache in 8 bits: one query against S keys.

    python book/recipes/low_bit_decode.py
    python book/recipes/low_bit_decode.py --quick --out tried.json

One sequence, or 16 at width 64; 8 differential heads with branches of width
64 or 128. Compared are the fused decode kernels on a cache in bfloat16, in
int8 and in fp8 (e4m3), each with a scale for every token, head and branch, and
plain attention on PyTorch's kernels. "relative_error" is that of the kernel:
the truth, in float64, has the same codes. "rounding_error" is what the codes
cost: the truth has the numbers from which they were made. Quantising is not
timed, because a cache quantises a token once. Needs a GPU; ``--quick`` tries
the recipe on tiny tensors, also in Triton's interpreter, whose times mean
nothing.
"""

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor

# First, because it turns Triton's interpreter on where there is no GPU.
from gpu_command import gpu_run  # isort: skip

from minidiff.bench import report
from minidiff.bench.accuracy import ends, exact, relative_error
from minidiff.bench.decode_peers import peers
from minidiff.bench.inputs import Step, cached
from minidiff.bench.peers import OURS
from minidiff.bench.refusals import attempt, forward
from minidiff.bench.report import Column, Row, add_times
from minidiff.ops import diff_attention
from minidiff.ops.low_bit import quantise

LENGTHS = (2_048, 8_192, 16_384, 32_768, 65_536)
PLAIN = ("plain/cudnn", "plain/flash", "plain/matmul")
PRECISIONS = ("int8", "fp8")
COLUMNS = (
    Column("decode_ratio", "decode", 8, 2),
    Column("decode_ms", "ms", 9, 4),
    Column("cache_mib", "MiB", 9, 2),
    Column("gb_per_s", "GB/s", 8, 1),
)


def from_codes(
    q: Tensor,
    k: tuple[Tensor, Tensor],
    v: tuple[Tensor, Tensor],
    lam: Tensor,
    weight: Tensor,
) -> Tensor:
    """Decode from codes and scales with our kernels, V1, norm included."""
    return diff_attention(
        q,
        k[0],
        v[0],
        lam,
        norm_weight=weight,
        norm_scale=0.8,
        k_scale=k[1],
        v_scale=v[1],
        backend="triton",
    )


def error(
    got: Tensor, q: Tensor, k: Tensor, v: Tensor, *rest: Tensor
) -> float:
    """Return the relative L2 error of the first and the last row."""
    want = exact("diff", [ends(x) for x in (q, k, v, *rest)])
    found = (ends(got) - want).norm() / want.norm()
    return float(f"{float(found):.2e}")


def measure(
    step: Step, device: torch.device, dtype: torch.dtype, rounds: int
) -> Iterator[Row]:
    """Yield a row for each implementation; times are added at the end."""
    rows: list[Row] = []
    calls: dict[str, Callable[[], object]] = {}
    for peer in (*OURS[:1], *(p for p in peers(device) if p.name in PLAIN)):
        row: Row = {"peer": peer.name, "kind": peer.kind, **step._asdict()}
        rows.append(row)
        given = cached(peer.kind, step, device, dtype)
        check = partial(relative_error, peer, given, dtype, ends)
        row["relative_error"], refusal = attempt(check)
        if refusal is not None:
            row["decode_error"] = refusal
        else:
            row["cache_bytes"] = given[1].nbytes + given[2].nbytes
            calls[peer.name] = forward(peer.attend, given)
        yield row
    q, k, v, *rest = cached("diff", step, device, dtype)
    for precision in PRECISIONS:
        name = f"diff/triton {precision}"
        row = {"peer": name, "kind": "diff", **step._asdict()}
        rows.append(row)
        codes = quantise(k, precision), quantise(v, precision)
        call = partial(from_codes, q, *codes, *rest)
        out, refusal = attempt(call)
        if out is None:
            row["decode_error"] = refusal
        else:
            restored = [c.double() * scale for c, scale in codes]
            row["relative_error"] = error(out, q, *restored, *rest)
            row["rounding_error"] = error(out, q, k, v, *rest)
            row["cache_bytes"] = sum(x.nbytes for c in codes for x in c)
            calls[name] = call
        yield row
    add_times("decode", rows, calls, device, rounds)
    for row in rows:
        if "decode_ms" in row:
            size = row["cache_bytes"]
            row["cache_mib"] = round(size / 2**20, 3)
            row["gb_per_s"] = round(size / 1e6 / row["decode_ms"], 1)


def table(rows: list[Row]) -> str:
    """Format the rows of one step."""
    step = Step(*(rows[0][n] for n in Step._fields))
    title = f"B = {step.B}, H = {step.H}, S = {step.S} keys, D = {step.D}"
    return report.table(title, rows, COLUMNS, by="decode_ms")


def main() -> None:
    """Measure every length; write the record after each of them."""
    run, quick = gpu_run(__doc__, "low_bit_decode.json")
    steps = [
        Step(B=B, H=8, S=S, D=D)
        for D, B in ((128, 1), (64, 1), (64, 16))
        for S in LENGTHS
    ]
    if quick:
        steps = [Step(B=1, H=1, S=S, D=16) for S in (32, 64)]
    run.record(
        steps,
        measure,
        table,
        what="one query a row against a cache in 16 and 8 bits, medians",
        quick=quick,
    )


if __name__ == "__main__":
    main()
