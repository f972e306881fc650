"""Time the forward pass with products in 8 bits, at 1,024 to 65,536 tokens.

    python book/recipes/low_bit_prefill.py
    python book/recipes/low_bit_prefill.py --quick --out tried.json

16,384 tokens in rows of equal length, or one longer row; differential heads
with branches of width 64 (16 heads) or 128 (8 heads), causal, norm included.
Compared are our fused kernels with products of queries and keys in bfloat16,
int8 and fp8, and plain attention on cuDNN and on FlashAttention. The time of
8 bits includes making the codes; "codes_ms" is that part alone. The 8-bit
kernels take the block shapes that were tuned for 16 bits.

Errors are those of the last 256 queries of the first row. "relative_error" is
that of the kernel: the truth has the same codes for 8 bits, and is float64
otherwise. "rounding_error" is measured against float64 in all cases. Needs a
GPU; ``--quick`` tries the recipe on tiny tensors, also in Triton's
interpreter, whose times mean nothing.
"""

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor

# First, because it turns Triton's interpreter on where there is no GPU.
from gpu_command import gpu_run  # isort: skip

from minidiff.bench import report
from minidiff.bench.accuracy import TOLERANCE, exact
from minidiff.bench.inputs import Inputs, Shape, inputs
from minidiff.bench.peers import OURS, peers
from minidiff.bench.refusals import attempt, forward
from minidiff.bench.report import Column, Row, add_times
from minidiff.ops import diff_attention
from minidiff.ops.low_bit_products import QUERY_BLOCK
from minidiff.ops.triton.launch.codes import quantise, quantise_keys

TOKENS, COLUMNS_OF_MODEL = 16_384, 1024
LENGTHS = (1_024, 2_048, 4_096, 8_192, 16_384, 32_768, 65_536)
PLAIN = ("plain/cudnn", "plain/flash")
PRECISIONS = ("int8", "fp8")
COLUMNS = (
    Column("forward_ratio", "forward", 8, 2),
    Column("forward_ms", "ms", 9, 4),
    Column("codes_ms", "codes ms", 9, 4),
    Column("rounding_error", "error", 9, 5),
)


def fused(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    lam: Tensor,
    weight: Tensor,
    precision: str | None = None,
    backend: str = "triton",
) -> Tensor:
    """Compute V1 with the norm; ``precision`` is that of the products."""
    return diff_attention(
        q,
        k,
        v,
        lam,
        norm_weight=weight,
        norm_scale=0.8,
        precision=precision,
        backend=backend,
    )


def codes(precision: str, q: Tensor, k: Tensor, *_: Tensor) -> object:
    """Make the codes of queries and keys, and nothing else."""
    return quantise(q, precision, QUERY_BLOCK), quantise_keys(
        k, precision, None
    )


def last_queries(given: Inputs) -> list[Tensor]:
    """Return the first row with its last 256 queries, all in float64."""
    q, *rest = (x.detach()[:1] if x.ndim > 2 else x.detach() for x in given)
    return [x.double() for x in (q[..., -256:, :], *rest)]


def distance(found: Tensor, want: Tensor) -> float:
    """Return the relative L2 error of the last 256 queries."""
    near = found[:1, :, -256:].double()
    return float(f"{float((near - want).norm() / want.norm()):.2e}")


def measure(
    shape: Shape, device: torch.device, dtype: torch.dtype, rounds: int
) -> Iterator[Row]:
    """Yield a row for each implementation; times are added at the end."""
    rows: list[Row] = []
    calls: dict[str, Callable[[], object]] = {}
    making: dict[str, Callable[[], object]] = {}
    # The mask that FlexAttention gets is for a short row, because a long one
    # takes gigabytes; FlexAttention is not among the chosen.
    found = peers(shape._replace(T=256), device)
    chosen = [(p.name, p.kind, p.attend, None) for p in found
              if p.name in PLAIN]  # fmt: skip
    for precision in (None, *PRECISIONS):
        name = f"{OURS[0].name} {precision or ''}".strip()
        attend = partial(fused, precision=precision)
        chosen.append((name, "diff", attend, precision))
    for name, kind, attend, precision in chosen:
        row: Row = {"peer": name, "kind": kind, **shape._asdict()}
        rows.append(row)
        given = inputs(kind, shape, device, dtype)
        call = forward(attend, given)
        out, refusal = attempt(call)
        if out is None:
            row["forward_error"] = refusal
        else:
            ends = last_queries(given)
            truth = exact(kind, ends)
            row["rounding_error"] = distance(out, truth)
            if precision is not None:
                truth = fused(*ends, precision=precision, backend="eager")
                making[name] = forward(partial(codes, precision), given)
            row["relative_error"] = distance(out, truth)
            if not row["relative_error"] < TOLERANCE[dtype]:
                raise ArithmeticError(
                    f"{name}: relative error {row['relative_error']:.2g}, "
                    f"expected less than {TOLERANCE[dtype]:.2g}"
                )
            calls[name] = call
        del out
        yield row
    add_times("forward", rows, calls, device, rounds)
    add_times("codes", rows, making, device, rounds)


def table(rows: list[Row]) -> str:
    """Format the rows of one length."""
    B, H, T, D = (rows[0][name] for name in Shape._fields)
    title = f"B = {B}, H = {H}, T = {T}, D = {D}"
    return report.table(title, rows, COLUMNS, by="forward_ms")


def main() -> None:
    """Measure every length; write the record after each of them."""
    run, quick = gpu_run(__doc__, "low_bit_prefill.json")
    shapes = [
        Shape(B=max(1, TOKENS // T), H=COLUMNS_OF_MODEL // D, T=T, D=D)
        for D in (64, 128)
        for T in LENGTHS
    ]
    if quick:
        shapes = [Shape(B=1, H=1, T=T, D=16) for T in (32, 160)]
    run.record(
        shapes,
        measure,
        table,
        what="the forward pass with products in 16 and 8 bits, medians",
        quick=quick,
    )


if __name__ == "__main__":
    main()
