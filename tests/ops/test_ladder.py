"""The oracle ladder: NumPy -> eager -> sdpa, values and gradients."""

import numpy as np
import pytest
import torch

from minidiff import diff_attention
from minidiff import reference as ref

BACKENDS = ["eager", "sdpa", "auto"]

# B, H, Hkv, P, T, S, D, Dv
SHAPES = {
    "V1": (2, 2, 2, 2, 5, 5, 4, 8),
    "V1 grouped": (2, 6, 2, 2, 7, 7, 4, 8),
    "V1 one key head, T < S": (1, 4, 1, 2, 3, 9, 8, 16),
    "V2 grouped": (2, 4, 2, 1, 6, 6, 4, 4),
    "V2 decode": (2, 4, 2, 1, 1, 17, 8, 8),
    "length 1": (1, 1, 1, 2, 1, 1, 4, 8),
}


def make(shape, lam_shape="token", dtype=torch.float64, seed=0):
    B, H, Hkv, P, T, S, D, Dv = SHAPES[shape]
    rng = np.random.default_rng(seed)
    lam_shapes = {
        "number": (),
        "head": (1, H, 1),
        "token": (B, H, T),
    }
    x = {
        "q": rng.normal(size=(B, H, 2, T, D)),
        "k": rng.normal(size=(B, Hkv, P, S, D)),
        "v": rng.normal(size=(B, Hkv, S, Dv)),
        "lam": rng.normal(size=lam_shapes[lam_shape]),
        "norm_weight": rng.normal(size=Dv),
    }
    t = {
        n: torch.tensor(a, dtype=dtype, requires_grad=True)
        for n, a in x.items()
    }
    return x, t, rng.normal(size=(B, H, T, Dv))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("lengths", [False, True])
@pytest.mark.parametrize("lam_shape", ["number", "head", "token"])
@pytest.mark.parametrize("shape", SHAPES)
def test_float64_values_and_gradients(
    shape, lam_shape, lengths, norm, backend
):
    x, t, dout = make(shape, lam_shape)
    B, S = x["k"].shape[0], x["k"].shape[3]
    options = {}
    key_lengths = None
    if lengths:
        key_lengths = np.array([max(1, S - 2), 0])[:B]
        options["key_lengths"] = torch.from_numpy(key_lengths)
    if norm:
        options |= dict(norm_scale=0.7, eps=1e-3)
    else:
        del x["norm_weight"], t["norm_weight"]
    out = diff_attention(**t, **options, backend=backend)
    (out * torch.from_numpy(dout)).sum().backward()
    options["key_lengths"] = key_lengths
    want = ref.diff_attention(**x, **options)
    grads = ref.diff_attention_backward(dout, **x, **options)
    np.testing.assert_allclose(out.detach(), want, atol=1e-12)
    for name, tensor in t.items():
        np.testing.assert_allclose(
            tensor.grad, getattr(grads, name), atol=1e-12, err_msg=name
        )


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_float32_is_tight(shape, backend):
    x, t, dout = make(shape, dtype=torch.float32)
    out = diff_attention(**t, norm_scale=0.7, backend=backend)
    (out * torch.from_numpy(dout).float()).sum().backward()
    want = ref.diff_attention(**x, norm_scale=0.7)
    grads = ref.diff_attention_backward(dout, **x, norm_scale=0.7)
    assert out.dtype == torch.float32
    np.testing.assert_allclose(out.detach(), want, atol=2e-5)
    for name, tensor in t.items():
        want = getattr(grads, name)
        size = max(1.0, np.abs(want).max())
        np.testing.assert_allclose(
            tensor.grad, want, atol=2e-5 * size, err_msg=name
        )


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("lengths", [False, True])
@pytest.mark.parametrize("lam_shape", ["number", "head", "token"])
@pytest.mark.parametrize("shape", SHAPES)
def test_flex_is_forward_only_and_right(shape, lam_shape, lengths, causal):
    x, t, _ = make(shape, lam_shape)
    B, S = x["k"].shape[0], x["k"].shape[3]
    options = dict(norm_scale=0.7, eps=1e-3, causal=causal)
    key_lengths = np.array([max(1, S - 2), 0])[:B] if lengths else None
    given = torch.from_numpy(key_lengths) if lengths else None
    with torch.no_grad():
        out = diff_attention(**t, **options, key_lengths=given, backend="flex")
    want = ref.diff_attention(**x, **options, key_lengths=key_lengths)
    np.testing.assert_allclose(out, want, atol=1e-12)
    with pytest.raises(ValueError, match=r"backend: got 'flex' on a CPU"):
        diff_attention(**t, **options, key_lengths=given, backend="flex")


@pytest.mark.parametrize("backend", [*BACKENDS, "flex"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@torch.no_grad()
def test_half_precision_in_and_out(dtype, backend):
    x, t, _ = make("V1 grouped", dtype=dtype)
    out = diff_attention(**t, norm_scale=0.7, backend=backend)
    assert out.dtype == dtype
    want = torch.from_numpy(ref.diff_attention(**x, norm_scale=0.7))
    error = (out.detach().double() - want).norm() / want.norm()
    assert error < 2e-2


@pytest.mark.parametrize("backend", BACKENDS)
def test_gradcheck(backend):
    _, t, _ = make("V1 grouped")
    names = ("q", "k", "v", "lam", "norm_weight")

    def f(*tensors):
        return diff_attention(
            **dict(zip(names, tensors, strict=True)),
            norm_scale=0.7,
            eps=0.1,
            backend=backend,
        )

    assert torch.autograd.gradcheck(f, [t[n] for n in names])


@pytest.mark.parametrize("backend", [*BACKENDS, "flex"])
@torch.no_grad()
def test_scale_and_plain_numbers(backend):
    x, t, _ = make("V1", "number")
    for lam in (0, 0.8, -1.5, np.float64(0.25)):
        out = diff_attention(
            t["q"], t["k"], t["v"], lam, scale=0.3, backend=backend
        )
        want = ref.diff_attention(x["q"], x["k"], x["v"], lam, scale=0.3)
        np.testing.assert_allclose(out.detach(), want, atol=1e-12)


def test_four_narrow_calls_equal_two_wide_ones():
    """Values cut in half along Dv: the form of the official flash files."""
    _, t, _ = make("V1 grouped")
    halves = [
        diff_attention(t["q"], t["k"], v, t["lam"])
        for v in t["v"].chunk(2, -1)
    ]
    whole = diff_attention(t["q"], t["k"], t["v"], t["lam"], backend="eager")
    torch.testing.assert_close(torch.cat(halves, -1), whole)
