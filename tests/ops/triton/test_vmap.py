"""torch.vmap over the fused operator, as stacked training uses it."""

import pytest
import torch
from cases import DEVICE

from minidiff import diff_attention

M, B, H, D = 3, 2, 2, 16


def inputs(T, shared_keys=False, dtype=torch.float32):
    """q, k, v, lam and a norm weight of M calls, along a leading axis."""
    torch.manual_seed(0)
    P, Dv = (1, D) if shared_keys else (2, 2 * D)
    shapes = [(H, 2, T, D), (H, P, T, D), (H, T, Dv)]
    tensors = [torch.randn(M, B, *s, dtype=dtype) for s in shapes]
    tensors += [torch.rand(M), torch.rand(M, Dv)]
    return [x.to(DEVICE).requires_grad_() for x in tensors]


def call(backend):
    def attention(q, k, v, lam, weight):
        return diff_attention(
            q, k, v, lam, norm_weight=weight, norm_scale=0.3, backend=backend
        )

    return attention


def compare(fused, given, in_dims=0):
    """Values and gradients of the mapped fused call and of eager ones."""
    y = torch.vmap(fused, in_dims=in_dims)(*given)
    dims = in_dims if isinstance(in_dims, tuple) else (0,) * len(given)
    expected = torch.stack(
        [
            call("eager")(
                *(
                    x if d is None else x.select(d, i)
                    for x, d in zip(given, dims, strict=True)
                )
            )
            for i in range(M)
        ]
    )
    assert torch.allclose(y, expected, atol=1e-5)
    g = torch.randn_like(y)
    found, wanted = (
        torch.autograd.grad(out, given, g) for out in (y, expected)
    )
    for a, b in zip(found, wanted, strict=True):
        assert torch.allclose(a, b, atol=1e-4)


@pytest.mark.parametrize("shared_keys", [False, True])
@pytest.mark.parametrize("T", [5, 20])
def test_values_and_gradients(T, shared_keys):
    compare(call("triton"), inputs(T, shared_keys))


def test_only_some_arguments_are_mapped():
    q, k, v, lam, weight = inputs(20)
    k = k.detach().movedim(0, 2).contiguous().requires_grad_()
    v0 = v.detach()[0].clone().requires_grad_()
    w0 = weight.detach()[0].clone().requires_grad_()
    compare(call("triton"), [q, k, v0, lam, w0], (0, 2, None, 0, None))


def test_without_gradients_few_queries_are_decoded():
    given = [x.detach() for x in inputs(5)]
    y = torch.vmap(call("triton"))(*given)
    expected = torch.vmap(call("eager"))(*given)
    assert torch.allclose(y, expected, atol=1e-5)


def test_lengths_are_the_rows_own():
    q, k, v, lam, _ = inputs(20)
    lengths = torch.tensor([[20, 3], [7, 20], [1, 12]], device=DEVICE)

    def attention(backend):
        return lambda *x: diff_attention(
            *x[:4], key_lengths=x[4], backend=backend
        )

    given = (q, k, v, lam, lengths)
    y, expected = (
        torch.vmap(attention(b))(*given) for b in ("triton", "eager")
    )
    assert torch.allclose(y, expected, atol=1e-5)


@pytest.mark.slow
def test_compiled_and_mapped():
    given = inputs(20)
    compiled = torch.compile(torch.vmap(call("triton")), fullgraph=True)
    y = compiled(*given)
    expected = torch.vmap(call("eager"))(*given)
    assert torch.allclose(y, expected, atol=1e-5)
    g = torch.randn_like(y)
    for a, b in zip(
        torch.autograd.grad(y, given, g),
        torch.autograd.grad(expected, given, g),
        strict=True,
    ):
        assert torch.allclose(a, b, atol=1e-4)
