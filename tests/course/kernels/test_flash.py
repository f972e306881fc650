"""The course's flash attention against NumPy's float64."""

import numpy as np
import pytest
import torch

from minidiff.course.kernels import DEVICE, INTERPRETED, flash
from minidiff.course.kernels.memory import fenced, outside_touched, poisoned
from minidiff.course.kernels.trace import record

# isort: split
import triton

from minidiff import reference
from minidiff.bench.peak_memory import Meter

LENGTHS = [1, 2, 15, 16, 17, 33, 50]
TOLERANCE = {torch.float32: 2e-6, torch.float16: 2e-3}
if not INTERPRETED:
    TOLERANCE[torch.bfloat16] = 2e-2
each_dtype = pytest.mark.parametrize("dtype", TOLERANCE, ids=str)


def draw(N, T, S, D=16, DV=32, dtype=torch.float32, logits=1.0):
    g = torch.Generator().manual_seed(T * 100 + S)
    shapes = (N, T, D), (N, S, D), (N, S, DV)
    q, k, v = (torch.randn(shape, generator=g) for shape in shapes)
    return [x.to(DEVICE, dtype) for x in (q * logits, k, v)]


def truth(q, k, v, causal=True):
    """What NumPy makes of the same numbers, and the log-sums in base 2."""
    q, k, v = (x.cpu().double().numpy() for x in (q, k, v))
    T, S = q.shape[1], k.shape[1]
    logits = q @ np.swapaxes(k, 1, 2) / np.sqrt(q.shape[2])
    if causal:
        logits[:, ~np.tril(np.ones((T, S), dtype=bool), S - T)] = -np.inf
    top = logits.max(-1)
    sums = np.exp(logits - top[..., None]).sum(-1)
    out = reference.attention_map(q, k, causal) @ v
    return out, (top + np.log(sums)) * flash.LOG2_E


def close(got, want, tolerance):
    for x, y in zip(got, want, strict=True):
        x = x.cpu().double().numpy()
        np.testing.assert_allclose(x, y, atol=tolerance, rtol=tolerance)


def launch(q, k, v, causal=True, BT=16, BS=16):
    """Run the kernel with outputs that are poisoned and watched."""
    (N, T, D), (S, DV) = q.shape, v.shape[1:]
    out, lse = poisoned(N, T, DV, dtype=q.dtype), poisoned(N, T)
    flash.flash_kernel[(N, triton.cdiv(T, BT))](
        q, k, v, out, lse,
        *q.stride()[:2], *k.stride()[:2], *v.stride()[:2],
        *out.stride()[:2], lse.stride(0),
        T, S, D**-0.5 * flash.LOG2_E,
        D=D, DV=DV, BT=BT, BS=BS, CAUSAL=causal,
    )  # fmt: skip
    assert not outside_touched(out) and not outside_touched(lse)
    return out, lse


@each_dtype
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("T", LENGTHS)
def test_every_length_inside_fences(T, causal, dtype):
    for S in (T, T + 7):
        x = draw(2, T, S, dtype=dtype)
        got = launch(*map(fenced, x), causal)
        close(got, truth(*x, causal), TOLERANCE[dtype])


@pytest.mark.parametrize(("BT", "BS"), [(16, 32), (32, 16), (64, 64)])
@pytest.mark.parametrize("shift", [0, 1, 14, 15, 16, 17])
def test_every_edge_of_the_blocks(shift, BT, BS):
    x = draw(1, 33, 33 + shift)
    close(launch(*x, BT=BT, BS=BS), truth(*x), 2e-6)


def test_more_queries_than_keys_where_nothing_is_hidden():
    x = draw(2, 40, 21)
    close(flash.flash(*x, causal=False), truth(*x, False), 2e-6)


@each_dtype
@pytest.mark.parametrize("logits", [0.0, 30.0])
def test_flat_and_saturated_rows(logits, dtype):
    # A cast of a weight to 16 bits needs it to be at most 1.
    x = draw(1, 17, 50, dtype=dtype, logits=logits)
    close(flash.flash(*x), truth(*x), 10 * TOLERANCE[dtype])


def test_any_scale_even_below_zero():
    q, k, v = draw(1, 17, 17)
    for scale in (0.5, -0.5, 0.0):
        got, _ = flash.flash(q, k, v, scale=scale)
        want, _ = truth(q * scale * 4, k, v)  # sqrt(D) = 4
        np.testing.assert_allclose(got.cpu().numpy(), want, atol=2e-6)


STRIDES = {
    "rows inside": lambda x: x.mT.contiguous().mT,
    "every other number": lambda x: x.repeat_interleave(2, -1)[..., ::2],
    "heads between rows": lambda x: (
        x.transpose(0, 1).contiguous().transpose(0, 1)
    ),
    "one head for all": lambda x: x[:1].expand_as(x),
}


@pytest.mark.parametrize("name", STRIDES)
def test_any_strides(name):
    x = [STRIDES[name](x) for x in draw(2, 17, 20)]
    close(flash.flash(*x), truth(*x), 2e-6)


@pytest.mark.skipif(not INTERPRETED, reason="no record on a GPU")
@pytest.mark.parametrize("S", [33, 40, 70])
def test_no_block_is_visited_that_no_query_sees(S):
    BT, BS = 16, 8
    with record() as log:
        launch(*draw(1, 33, S), BT=BT, BS=BS)
    for i in range(3):
        here = [t for t in log.of("p_k") if t.program == (0, i, 0)]
        whole, masked, skipped = flash.blocks_seen(i, 33, S, BT, BS)
        assert len(here) == whole + masked
        assert whole + masked + skipped == triton.cdiv(S, BS)


def test_memory_is_what_is_returned_and_no_more():
    x = draw(2, 100, 200)
    with Meter() as meter:
        flash.flash(*x)
    assert meter.peak == 2 * 100 * (32 * 4 + 4)


def ones(*shapes, dtype=torch.float32):
    return [torch.ones(n, dtype=dtype, device=DEVICE) for n in shapes]


@pytest.mark.parametrize(
    ("q", "k", "v", "says"),
    [
        ((4, 16), (1, 4, 16), (1, 4, 16), "q: got shape"),
        ((1, 4, 8), (1, 4, 8), (1, 4, 16), "q: got width 8"),
        ((1, 4, 16), (1, 4, 16), (1, 4, 24), "v: got width 24"),
        ((1, 4, 16), (2, 4, 16), (2, 4, 16), "k: got shape"),
        ((1, 4, 16), (1, 4, 32), (1, 4, 16), "k: got shape"),
        ((1, 4, 16), (1, 4, 16), (1, 5, 16), "v: got shape"),
        ((1, 5, 16), (1, 4, 16), (1, 4, 16), "q: got 5 queries"),
    ],
)
def test_bad_shapes_are_named(q, k, v, says):
    with pytest.raises(ValueError, match=says):
        flash.flash(*ones(q, k, v))


def test_bad_dtypes_are_named():
    q, k, v = ones(*[(1, 4, 16)] * 3)
    with pytest.raises(TypeError, match=r"v: got torch\.float16"):
        flash.flash(q, k, v.half())
    with pytest.raises(TypeError, match=r"q: got torch\.float64"):
        flash.flash(q.double(), k.double(), v.double())


@pytest.mark.skipif(not INTERPRETED, reason="a GPU computes bfloat16")
def test_bfloat16_is_refused_in_the_interpreter():
    with pytest.raises(TypeError, match="silently computes it incorrectly"):
        flash.flash(*ones(*[(1, 4, 16)] * 3, dtype=torch.bfloat16))
