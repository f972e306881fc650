"""Every form gives the operator's values and gradients."""

import pytest
import torch

from minidiff import diff_attention
from minidiff.bench import variants

# B, H, T, D, Dv
SHAPES = [(1, 1, 1, 2, 4), (2, 3, 7, 4, 8), (1, 2, 16, 8, 8), (2, 1, 5, 6, 2)]


def make(shape):
    B, H, T, D, Dv = shape
    torch.manual_seed(0)
    q, k = torch.randn(2, B, H, 2, T, D, dtype=torch.float64)
    v = torch.randn(B, H, T, Dv, dtype=torch.float64)
    return q, k, v


def with_gradients(form, *tensors):
    tensors = [x.clone().requires_grad_() for x in tensors]
    out = form(*tensors)
    torch.manual_seed(1)
    dout = torch.randn(out.shape, dtype=out.dtype)
    return out, *torch.autograd.grad(out, tensors, dout)


def assert_equal(form, operator, *tensors):
    got = with_gradients(form, *tensors)
    want = with_gradients(operator, *tensors)
    for a, b in zip(got, want, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", variants.FORMS)
def test_forms_of_v1(name, shape):
    lam = torch.tensor(0.7, dtype=torch.float64)
    assert_equal(variants.FORMS[name], diff_attention, *make(shape), lam)


@pytest.mark.parametrize("Hkv", [1, 3])
@pytest.mark.parametrize("token", [False, True])
def test_v2(Hkv, token):
    q, k, v = make((2, 3, 7, 4, 4))
    k, v = k[:, :Hkv, 0], v[:, :Hkv]
    lam = torch.rand((2, 3, 7, 1) if token else (), dtype=torch.float64)

    def operator(q, k, v, lam):
        lam = lam[..., 0] if token else lam
        return diff_attention(q, k[:, :, None], v, lam)

    assert_equal(variants.v2, operator, q, k, v, lam)


@pytest.mark.parametrize("name", variants.FORMS)
def test_half_precision_stays(name):
    q, k, v = (x.bfloat16() for x in make(SHAPES[1]))
    out = variants.FORMS[name](q, k, v, 0.7)
    assert out.dtype == torch.bfloat16
    want = diff_attention(q.float(), k.float(), v.float(), 0.7)
    assert (out - want).norm() < 2e-2 * want.norm()
