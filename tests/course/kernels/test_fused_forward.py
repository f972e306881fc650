"""The course's fused forward: float64's answer, and the shipped kernel's."""

from math import e, log2

import pytest
import torch
from torch import Tensor

from minidiff import diff_attention
from minidiff.course.kernels import DEVICE, INTERPRETED
from minidiff.course.kernels.fused_forward import (
    fused_forward,
    fused_forward_kernel,
)
from minidiff.course.kernels.memory import fenced, outside_touched, poisoned
from minidiff.ops.arguments import Arguments
from minidiff.ops.triton.launch import forward as launch_forward
from minidiff.ops.triton.tuning import Shape

LENGTHS = [1, 2, 15, 16, 17, 33, 50]
# Float16 keeps 11 bits; sums are float32.
TOLERANCE = {torch.float32: 1e-5, torch.float16: 4e-3}


def inputs(B=1, H=2, Hkv=2, T=33, S=None, D=16, dtype=torch.float32, seed=0):
    """As projections lay them out: heads lie within a row of a token."""
    g = torch.Generator().manual_seed(seed)
    S = S or T
    q = torch.randn(B, T, H, 2, D, generator=g).permute(0, 2, 3, 1, 4)
    k = torch.randn(B, S, Hkv, 2, D, generator=g).permute(0, 2, 3, 1, 4)
    v = torch.randn(B, S, Hkv, 2 * D, generator=g).transpose(1, 2)
    lam = torch.rand(B, H, 1, generator=g)
    weight = 1 + torch.randn(2 * D, generator=g) / 4
    to = {"device": DEVICE, "dtype": dtype}
    return q.to(**to), k.to(**to), v.to(**to), lam.to(DEVICE), weight.to(**to)


def truth(q, k, v, lam, weight, **options):
    """Every output of the kernel, in float64, from whole maps."""
    q, k, v, weight = (x.double() for x in (q, k, v, weight))
    lam = lam.double() if isinstance(lam, Tensor) else lam
    causal = options.get("causal", True)
    y = diff_attention(
        q, k, v, lam, norm_weight=weight, norm_scale=0.3, backend="eager",
        **options,
    )  # fmt: skip
    o = diff_attention(q, k, v, lam, causal=causal, backend="eager")
    o2 = o - diff_attention(q, k, v, lam + 1.0, causal=causal, backend="eager")
    k = k.repeat_interleave(q.shape[1] // k.shape[1], 1)
    logits = q @ k.mT * q.shape[-1] ** -0.5
    T, S = logits.shape[-2:]
    hidden = torch.ones(T, S, dtype=torch.bool, device=q.device)
    hidden = hidden.triu(1 + S - T) if causal else hidden & False
    lse = logits.masked_fill(hidden, -torch.inf).logsumexp(-1) * log2(e)
    return y, o, o2, lse


def hold(got, want, dtype=torch.float32, names=("y", "o", "o2", "lse")):
    for name, x, y in zip(names, got, want, strict=True):
        assert x.shape == y.shape, name
        torch.testing.assert_close(
            x.double(),
            y.double(),
            rtol=TOLERANCE[dtype],
            atol=TOLERANCE[dtype],
            msg=lambda text, name=name: f"{name}: {text}",
        )


@pytest.mark.parametrize("dtype", list(TOLERANCE), ids=str)
@pytest.mark.parametrize("T", LENGTHS)
def test_all_four_outputs(T, dtype):
    x = inputs(T=T, dtype=dtype)
    y = fused_forward(*x[:4], norm_weight=x[4], norm_scale=0.3, BT=16, BS=16)
    hold(y, truth(*x), dtype)


@pytest.mark.parametrize("BT", [16, 32])
@pytest.mark.parametrize("BS", [16, 64])
def test_any_block(BT, BS):
    x = inputs(T=50)
    y = fused_forward(*x[:4], norm_weight=x[4], norm_scale=0.3, BT=BT, BS=BS)
    hold(y, truth(*x))


@pytest.mark.parametrize("size", [(1, 17), (5, 40), (16, 33), (33, 33)])
def test_a_causal_mask_ends_with_the_keys(size):
    T, S = size
    x = inputs(T=T, S=S, seed=1)
    hold(fused_forward(*x[:4], norm_weight=x[4], norm_scale=0.3), truth(*x))


@pytest.mark.parametrize("size", [(1, 17), (40, 5), (33, 33)])
def test_without_a_mask(size):
    T, S = size
    x = inputs(T=T, S=S, seed=2)
    got = fused_forward(*x[:4], norm_weight=x[4], norm_scale=0.3, causal=False)
    hold(got, truth(*x, causal=False))


def test_groups_share_pairs():
    x = inputs(B=2, H=6, Hkv=2, T=17, seed=3)
    hold(fused_forward(*x[:4], norm_weight=x[4], norm_scale=0.3), truth(*x))


@pytest.mark.parametrize("lam", [0.0, -0.3, 1.2])
def test_lambda_is_any_number(lam):
    q, k, v, _, weight = inputs(seed=4)
    got = fused_forward(q, k, v, lam, norm_weight=weight, norm_scale=0.3)
    hold(got, truth(q, k, v, lam, weight))


def test_lambda_of_a_layer_and_of_heads():
    q, k, v, _, weight = inputs(B=2, H=2, seed=5)
    for lam in (torch.tensor(0.4), torch.tensor([[[0.4], [0.9]]])):
        lam = lam.to(DEVICE)
        got = fused_forward(q, k, v, lam, norm_weight=weight, norm_scale=0.3)
        hold(got, truth(q, k, v, lam, weight))


def test_without_the_norm_y_is_o():
    q, k, v, lam, _ = inputs()
    y, o, *_ = fused_forward(q, k, v, lam)
    assert torch.equal(y, o)


def test_without_a_weight():
    q, k, v, lam, weight = inputs()
    y = fused_forward(q, k, v, lam, norm_scale=0.3).y
    ones = torch.ones_like(weight)
    hold((y,), truth(q, k, v, lam, ones)[:1], names=("y",))


def test_large_logits_and_a_scale():
    q, k, v, lam, _ = inputs(seed=6)
    y = fused_forward(100 * q, k, v, lam, scale=0.5).y
    q, k, v, lam = (x.double() for x in (100 * q, k, v, lam))
    want = diff_attention(q, k, v, lam, scale=0.5, backend="eager")
    # A logit of some hundreds has an error of some 1e-5 in float32.
    assert (y - want).abs().max() < 1e-3


def test_fences_around_inputs_and_poison_in_outputs():
    B, H, T, D, DV, BT, BS = 2, 2, 33, 16, 32, 16, 16
    q, k, v, lam, weight = inputs(B=B, H=H, T=T, D=D)
    want = truth(q, k, v, lam, weight)
    q, k, v, weight = (fenced(x) for x in (q, k, v, weight))
    lam = fenced(lam.flatten())  # side by side, as the kernel wants it
    flat = [poisoned(B * H * T * DV) for _ in range(3)]
    flat.append(poisoned(B * H * 2 * T))
    fused_forward_kernel[(B * H, -(-T // BT))](
        q, k, v, lam, weight, *flat,
        *q.stride()[:4], *k.stride()[:4], *v.stride()[:3],
        H, 1, T, T, D**-0.5 * log2(e), 0.3, 1e-5,
        D=D, DV=DV, BT=BT, BS=BS, CAUSAL=True, NORM=True,
    )  # fmt: skip
    hold([x.view(y.shape) for x, y in zip(flat, want, strict=True)], want)
    assert not any(outside_touched(x) for x in flat)


@pytest.mark.parametrize("dtype", list(TOLERANCE), ids=str)
@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("size", [(1, 1), (17, 17), (50, 50), (5, 40)])
def test_it_is_the_shipped_kernel(size, together, dtype):
    T, S = size
    q, k, v, lam, weight = inputs(H=2, Hkv=1, T=T, S=S, dtype=dtype)
    shape = Shape(BT=16, BS=16, warps=4, stages=1, together=together)
    x = Arguments(
        q,
        k,
        v,
        lam.expand(1, 2, T),
        scale=q.shape[-1] ** -0.5,
        norm_weight=weight,
        norm_scale=0.3,
    )
    shipped = launch_forward.forward(x, keep=True, shape=shape)
    ours = fused_forward(q, k, v, lam, norm_weight=weight, norm_scale=0.3)
    hold(ours, shipped, dtype)
    hold(shipped, truth(q, k, v, lam, weight), dtype)


def test_columns_may_lie_apart():
    q, k, v, lam, weight = inputs()
    apart = torch.stack([v, v * torch.nan], -1)[..., 0]
    assert apart.stride(-1) == 2
    hold(
        fused_forward(q, k, apart, lam, norm_weight=weight, norm_scale=0.3),
        truth(q, k, v, lam, weight),
    )


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"q": torch.float64}, TypeError, "got float64"),
        ({"k": lambda k: k[:, :, :1]}, ValueError, "expected P = 2"),
        ({"v": lambda v: v[..., :24]}, ValueError, "v: width 24"),
        ({"lam": lambda x: x.expand(1, 2, 33)}, ValueError, "for each token"),
        ({"scale": -1.0}, ValueError, "scale: got -1.0"),
        ({"q": lambda q: q[0]}, ValueError, "q: got 4 axes"),
    ],
)
def test_what_it_does_not_take(change, error, says):
    q, k, v, lam, _ = inputs()
    given = {"q": q, "k": k, "v": v, "lam": lam}
    for name, how in change.items():
        if how == torch.float64:
            given |= {n: given[n].double() for n in "qkv"}
        else:
            given[name] = how(given[name]) if callable(how) else how
    with pytest.raises(error, match=says):
        fused_forward(**given)


@pytest.mark.skipif(not INTERPRETED, reason="compiled bfloat16 is right")
def test_bfloat16_is_refused_in_the_interpreter():
    q, k, v, lam, _ = inputs(dtype=torch.bfloat16)
    with pytest.raises(TypeError, match="silently computes it incorrectly"):
        fused_forward(q, k, v, lam)
