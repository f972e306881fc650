"""What must hold whatever the numbers: masks, padding, strides, layout."""

import pytest
import torch

from minidiff import diff_attention
from minidiff.bench.peak_memory import Meter
from minidiff.ops import attention_maps
from minidiff.ops.flex import _causal_mask

BACKENDS = ["eager", "sdpa", "auto"]
FORWARD = [*BACKENDS, "flex"]


def random(seed=0, B=2, H=4, Hkv=2, P=2, T=6, S=6, D=4, Dv=8):
    g = torch.Generator().manual_seed(seed)
    new = lambda *shape: torch.randn(*shape, generator=g).double()  # noqa: E731
    return new(B, H, 2, T, D), new(B, Hkv, P, S, D), new(B, Hkv, S, Dv)


@pytest.mark.parametrize("backend", FORWARD)
@pytest.mark.parametrize("lam", [0.8, -0.8, 1.2, 0.0])
@pytest.mark.parametrize("T", [6, 4])
def test_a_changed_token_leaves_earlier_outputs_alone(lam, T, backend):
    q, k, v = random(T=T)
    before = diff_attention(q, k, v, lam, backend=backend)
    t = 2
    s = t + 6 - T
    q, k, v = q.clone(), k.clone(), v.clone()
    q[:, :, :, t], k[:, :, :, s], v[:, :, s] = 9.0, -7.0, 5.0
    after = diff_attention(q, k, v, lam, backend=backend)
    assert torch.equal(before[:, :, :t], after[:, :, :t])
    assert not torch.isclose(before[:, :, t], after[:, :, t]).any()


@pytest.mark.parametrize("backend", FORWARD)
def test_padding_may_hold_anything(backend):
    q, k, v = random()
    lengths = torch.tensor([4, 0])
    clean = diff_attention(
        q, k, v, 0.5, key_lengths=lengths, norm_scale=0.5, backend=backend
    )
    for b, n in enumerate(lengths):
        k[b, :, :, n:] = float("nan")
        v[b, :, n:] = float("inf")
    if backend != "flex":  # forward only here
        for x in (q, k, v):
            x.requires_grad_()
    dirty = diff_attention(
        q, k, v, 0.5, key_lengths=lengths, norm_scale=0.5, backend=backend
    )
    assert torch.equal(clean, dirty)
    assert not dirty[1].any()
    if backend != "flex":
        for x in torch.autograd.grad(dirty.sum(), (q, k, v)):
            assert x.isfinite().all()


@pytest.mark.parametrize("backend", FORWARD)
def test_memory_is_ready_for_the_output_projection(backend):
    out = diff_attention(*random(), 0.5, norm_scale=0.5, backend=backend)
    assert out.shape == (2, 4, 6, 8)
    assert out.transpose(1, 2).is_contiguous()


@pytest.mark.parametrize("backend", FORWARD)
def test_any_strides(backend):
    q, k, v = random()
    want = diff_attention(q, k, v, 0.5, backend=backend)
    wide = torch.full((2, 2, 2, 99, 4), float("nan"), dtype=k.dtype)
    wide[:, :, :, 50:56] = k
    got = diff_attention(
        q.transpose(1, 3).contiguous().transpose(1, 3),
        wide[:, :, :, 50:56],
        v.flip(-1).contiguous().flip(-1).mT.contiguous().mT,
        0.5,
        backend=backend,
    )
    torch.testing.assert_close(got, want, atol=1e-12, rtol=0)


@pytest.mark.parametrize("backend", FORWARD)
def test_saturated_and_empty_logits(backend):
    q, k, v = random()
    assert diff_attention(q * 1e4, k, v, 0.5, backend=backend).isfinite().all()
    same = diff_attention(q * 0, k, v, 1.0, norm_scale=0.2, backend=backend)
    torch.testing.assert_close(same, torch.zeros_like(same))


def test_a_mask_kept_from_inference_serves_training():
    _causal_mask.cache_clear()
    with torch.inference_mode():
        diff_attention(*random(), 0.5, backend="flex")
    assert _causal_mask.cache_info().currsize == 1
    mask = _causal_mask(6, 6, torch.device("cpu"))
    tensors = [x for x in mask.as_tuple() if isinstance(x, torch.Tensor)]
    assert tensors and not any(x.is_inference() for x in tensors)


def test_flex_refuses_off_the_cpu_what_its_compiler_lacks():
    for sizes, dtype, says in (
        ({"D": 8, "Dv": 16}, torch.float32, "D = 8 and Dv = 16 on meta"),
        ({"D": 16, "Dv": 8}, torch.float32, "D = 16 and Dv = 8 on meta"),
        ({"D": 16, "Dv": 32}, torch.float64, "float64 on meta"),
    ):
        x = [y.to("meta", dtype) for y in random(**sizes)]
        with pytest.raises((ValueError, TypeError), match=says):
            diff_attention(*x, 0.5, backend="flex")


@pytest.mark.parametrize("lam_gradient", [False, True])
def test_flex_on_a_cpu_gives_lambda_its_gradient(lam_gradient):
    lam = torch.tensor(0.5).double().requires_grad_(lam_gradient)
    outs = [diff_attention(*random(), lam, backend=b) for b in FORWARD]
    assert [x.requires_grad for x in outs] == [lam_gradient] * 4
    if lam_gradient:
        grads = [torch.autograd.grad(x.sum(), lam)[0] for x in outs]
        torch.testing.assert_close(grads, [grads[0]] * 4)


def test_backends_agree_under_autocast():
    q, k, v = (x.float() for x in random())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        outs = [
            diff_attention(q, k, v, 0.5, backend=b) for b in ("eager", "sdpa")
        ]
    assert all(out.dtype == torch.float32 for out in outs)
    torch.testing.assert_close(*outs, atol=0.05, rtol=0.05)


def test_eager_copies_keys_for_groups_only():
    moved = []
    for Hkv in (4, 2):
        q, k, v = random(Hkv=Hkv, T=1, S=256, D=64, Dv=128)
        with Meter() as meter:
            diff_attention(q, k, v, 0.5, backend="eager")
        moved.append(meter.moved / (k.nbytes + v.nbytes))
    assert moved[0] < 1.5 < 3 < moved[1]


def test_maps_are_what_the_operator_multiplies_with():
    q, k, v = random()
    lam = torch.rand(2, 4, 6).double()
    maps = attention_maps(q, k, lam)
    torch.testing.assert_close(maps.A.sum(-1), 1 - lam)
    torch.testing.assert_close(
        maps.A @ v.repeat_interleave(2, 1), diff_attention(q, k, v, lam)
    )
    assert (maps.A1 >= 0).all()
    assert (maps.A < 0).any()
