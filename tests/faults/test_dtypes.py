"""Precisions: autocast, 16-bit models and caches, and large logits."""

import pytest
import torch
from tiny_models import KINDS, make, qkv, tokens

from minidiff import (
    MultiheadAttention,
    attention_maps,
    diff_attention,
    generate,
)
from minidiff.ops.logits import scaled_logits

HALF = [torch.float16, torch.bfloat16]
BACKENDS = ["auto", "sdpa", "eager", "flex"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("autocast", HALF)
@pytest.mark.parametrize("dtype", [torch.float32, *HALF])
@torch.no_grad()
def test_generating_under_autocast(kind, autocast, dtype):
    model, x = make(kind).to(dtype), tokens(length=9)
    outside = model.new_cache(2)
    with torch.autocast("cpu", autocast):
        want = model(x).float()
        for cache in (model.new_cache(2), outside):
            parts = [model(part, cache) for part in x.split([4, 1, 4], 1)]
            got = torch.cat(parts, 1).float()
            torch.testing.assert_close(got, want, atol=0.25, rtol=0.1)
        row = generate(model, x, max_new_tokens=4, temperature=0)
        assert row.shape == (2, 13)
    assert {part.length for part in outside} == {9}


@pytest.mark.parametrize("kind", KINDS)
def test_autocast_around_some_of_the_forward(kind):
    """A cache that nobody outside can make with the right dtype."""
    model = make(kind)
    whole = model.forward

    def forward(*args, **options):
        with torch.autocast("cpu", torch.bfloat16):
            return whole(*args, **options)

    model.forward = forward
    row = generate(model, tokens(), max_new_tokens=3)
    assert row.shape == (2, 9)


@torch.no_grad()
def test_a_dtype_that_was_asked_for_stays():
    model = make()
    cache = model.new_cache(2, dtype=torch.bfloat16)
    with pytest.raises(ValueError, match=r"cache holds torch\.bfloat16"):
        model(tokens(), cache)


@pytest.mark.parametrize("dtype", HALF)
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("size", [30.0, 100.0])
def test_large_logits_in_16_bits(dtype, backend, size):
    q, k, v = (x.to(dtype) for x in qkv(D=64, Dv=64))
    q, k = q * size, k * size**0.5
    want = diff_attention(
        q.double(), k.double(), v.double(), 0.5, backend="eager"
    )
    got = diff_attention(q, k, v, 0.5, backend=backend)
    torch.testing.assert_close(got.double(), want, atol=0.03, rtol=0.02)


@pytest.mark.parametrize("backend", BACKENDS)
def test_equal_logits_beyond_the_range_of_float16(backend):
    q, _, v = qkv(D=64, Dv=64)
    q = torch.full((2, 4, 2, 7, 64), 110.0, dtype=torch.float16)
    k = torch.full((2, 2, 2, 7, 64), 110.0, dtype=torch.float16)
    got = diff_attention(q, k, v.half(), 0.5, backend=backend)
    want = diff_attention(0 * q, k, v.half(), 0.5, backend=backend)
    torch.testing.assert_close(got, want, atol=2e-3, rtol=2e-3)


@pytest.mark.parametrize("dtype", HALF)
@pytest.mark.parametrize("autocast", [False, True])
def test_maps_in_16_bits(dtype, autocast):
    q, k, _ = (30 * x.to(dtype) for x in qkv(D=64))
    want = attention_maps(q.double(), k.double(), 0.5)
    if autocast:
        q, k = q.float(), k.float()
    with torch.autocast("cpu", dtype, enabled=autocast):
        got = attention_maps(q, k, 0.5)
    for a, b in zip(got, want, strict=True):
        assert a.dtype == torch.float32
        torch.testing.assert_close(a.double(), b, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("dtype", HALF)
@torch.no_grad()
def test_plain_maps_agree_with_the_output(dtype):
    """Scaled logits of 12,800 and more, which float16 cannot hold unscaled."""
    torch.manual_seed(0)
    module = MultiheadAttention(64, 1).to(dtype)
    for name in ("q_proj", "k_proj"):
        getattr(module, name).weight *= 200
    for name in ("v_proj", "out_proj"):
        getattr(module, name).weight.copy_(torch.eye(64))
    x = torch.randn(1, 5, 64).to(dtype)
    out, A = module(x, return_maps=True)
    q, k = (p(x).double() for p in (module.q_proj, module.k_proj))
    assert (q @ k.mT).abs().max() > 65504
    torch.testing.assert_close(A[:, 0] @ x.float(), out.float(),
                               atol=0.02, rtol=0.02)  # fmt: skip
    eager = module(x, backend="eager")
    torch.testing.assert_close(eager, out, atol=0.02, rtol=0.02)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", HALF)
@torch.no_grad()
def test_backends_of_a_16_bit_model_agree(kind, dtype):
    model, x = make(kind).to(dtype), tokens()
    want = make(kind)(x)
    for backend in ("auto", "sdpa", "eager"):
        got = model(x, backend=backend).float()
        torch.testing.assert_close(got, want, atol=0.3, rtol=0.1)


def test_logits_are_wide_under_autocast():
    q, k = torch.randn(2, 3, 8), torch.randn(2, 5, 8)
    with torch.autocast("cpu", torch.bfloat16):
        got = scaled_logits(q, k, 0.5)
    assert got.dtype == torch.float32
    torch.testing.assert_close(got, 0.5 * q @ k.mT)
    assert scaled_logits(q.double(), k.double(), 1).dtype == torch.float64
