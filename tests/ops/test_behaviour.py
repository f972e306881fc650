"""What must hold whatever the numbers: masks, padding, strides, layout."""

import pytest
import torch

from minidiff import diff_attention
from minidiff.ops import attention_maps

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


@pytest.mark.parametrize("backend", BACKENDS)
def test_padding_may_hold_anything(backend):
    q, k, v = random()
    lengths = torch.tensor([4, 0])
    clean = diff_attention(
        q, k, v, 0.5, key_lengths=lengths, norm_scale=0.5, backend=backend
    )
    for b, n in enumerate(lengths):
        k[b, :, :, n:] = float("nan")
        v[b, :, n:] = float("inf")
    for x in (q, k, v):
        x.requires_grad_()
    dirty = diff_attention(
        q, k, v, 0.5, key_lengths=lengths, norm_scale=0.5, backend=backend
    )
    assert torch.equal(clean, dirty)
    assert not dirty[1].any()
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


def test_backends_agree_under_autocast():
    q, k, v = (x.float() for x in random())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        outs = [
            diff_attention(q, k, v, 0.5, backend=b) for b in ("eager", "sdpa")
        ]
    assert all(out.dtype == torch.float32 for out in outs)
    torch.testing.assert_close(*outs, atol=0.05, rtol=0.05)


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
