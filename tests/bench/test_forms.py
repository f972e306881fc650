"""Every form computes what the operator computes, gradients included."""

import pytest
import torch

from minidiff import diff_attention
from minidiff.bench import forms

V1 = [forms.naive, forms.two_calls, forms.four_calls, forms.stacked]


def draw(*shapes):
    g = torch.Generator().manual_seed(0)
    return [
        torch.randn(s, generator=g).double().requires_grad_() for s in shapes
    ]


def same(got, want, inputs):
    torch.testing.assert_close(got, want)
    dout = torch.randn_like(want)
    for a, b in zip(
        torch.autograd.grad(got, inputs, dout),
        torch.autograd.grad(want, inputs, dout),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("form", V1, ids=lambda f: f.__name__)
@pytest.mark.parametrize("T", [1, 7, 33])
def test_v1(form, T):
    B, H, D = 2, 3, 4
    given = draw((B, H, 2, T, D), (B, H, 2, T, D), (B, H, T, 2 * D), ())
    same(form(*given), diff_attention(*given), given)


@pytest.mark.parametrize("Dv", [4, 8])
def test_v2(Dv):
    B, H, T, D = 2, 3, 7, 4
    given = draw((B, H, 2, T, D), (B, H, 1, T, D), (B, H, T, Dv), (B, H, T))
    same(forms.v2(*given), diff_attention(*given), given)
