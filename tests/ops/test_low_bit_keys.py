"""diff_attention with keys and values of 8 bits."""

import pytest
import torch

from minidiff import diff_attention
from minidiff.ops.low_bit import quantise


def given(dtype=torch.float32, P=2, T=3):
    g = torch.Generator().manual_seed(0)
    q = torch.randn(2, 4, 2, T, 16, generator=g, dtype=dtype)
    k = torch.randn(2, 2, P, 9, 16, generator=g, dtype=dtype)
    v = torch.randn(2, 2, 9, 32, generator=g, dtype=dtype)
    return q, k, v


@pytest.mark.parametrize("backend", ["auto", "eager", "sdpa"])
@pytest.mark.parametrize("precision", ["int8", "fp8"])
def test_codes_stand_for_codes_times_scale(precision, backend):
    q, k, v = given()
    (ck, sk), (cv, sv) = quantise(k, precision), quantise(v, precision)
    options = {"norm_scale": 0.8, "backend": backend}
    want = diff_attention(q, ck.float() * sk, cv.float() * sv, 0.7, **options)
    got = diff_attention(q, ck, cv, 0.7, k_scale=sk, v_scale=sv, **options)
    torch.testing.assert_close(got, want, atol=0, rtol=0)
    near = diff_attention(q, k, v, 0.7, **options)
    assert 0 < (got - near).abs().max() < 0.2


def test_gradients_flow_to_the_queries():
    q, k, v = given()
    (ck, sk), (cv, sv) = quantise(k, "int8"), quantise(v, "int8")
    q.requires_grad_()
    diff_attention(q, ck, cv, 0.7, k_scale=sk, v_scale=sv).sum().backward()
    assert q.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"v_scale": None}, ValueError, "v_scale: got None with k_scale"),
        ({"k_scale": None}, ValueError, "k_scale: got None with v_scale"),
        ({"k_scale": torch.ones(2, 2, 9, 1)}, ValueError, "k_scale: got 4"),
        (
            {"v_scale": torch.ones(2, 2, 8, 1)},
            ValueError,
            r"v_scale: got shape \(2, 2, 8, 1\), expected \(2, 2, 9, 1\)",
        ),
        (
            {"v_scale": torch.ones(2, 2, 9, 1).half()},
            TypeError,
            "v_scale: got dtype torch.float16",
        ),
        ({"k_scale": 1.0}, TypeError, "k_scale: got float"),
        ({"k": torch.ones(2, 2, 2, 9, 16)}, TypeError, "k: got dtype"),
        (
            {"v": torch.ones(2, 2, 8, 32, dtype=torch.int8)},
            ValueError,
            "v: got shape",
        ),
    ],
)
def test_what_does_not_fit_is_named(change, error, message):
    q, k, v = given()
    (ck, sk), (cv, sv) = quantise(k, "int8"), quantise(v, "int8")
    x = {"q": q, "k": ck, "v": cv, "lam": 0.7, "k_scale": sk, "v_scale": sv}
    with pytest.raises(error, match=message):
        diff_attention(**x | change)


def test_codes_without_scales_are_refused():
    q, k, v = given()
    with pytest.raises(TypeError, match=r"k: got dtype torch\.int8"):
        diff_attention(q, quantise(k, "int8")[0], v, 0.7)
