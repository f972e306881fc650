"""Edge cases of a backend: scales, hidden rows and every dtype."""

import pytest
import torch
from committed import ROOT
from tiny_models import qkv

from minidiff import attention_maps, diff_attention
from minidiff.ops.sdpa import softmax_attention

SCALES = [-0.25, 0.0, -0.0, 1e-50, -1e-45, 1e-30, 0.25]
BACKENDS = ["auto", "sdpa", "eager", "flex"]
DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


def oracle(q, k, v, lam, scale, causal):
    """A1 v - lam A2 v in float64, by plain matrix products."""
    q, k, v = (x.double() for x in (q, k, v))
    k, v = (x.repeat_interleave(q.shape[1] // x.shape[1], 1) for x in (k, v))
    logits = q @ k.mT * scale
    T, S = logits.shape[-2:]
    if causal:
        hidden = ~torch.ones(T, S, dtype=torch.bool).tril(S - T)
        logits = logits.masked_fill(hidden, float("-inf"))
    A1, A2 = logits.softmax(-1).unbind(2)
    return (A1 - lam * A2) @ v


# FlexAttention is slow on a CPU, so it gets one dtype.
EACH = [(b, t) for b in BACKENDS[:3] for t in DTYPES]
EACH += [("flex", torch.float32)]


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize(("backend", "dtype"), EACH)
def test_any_scale(backend, dtype, scale):
    for sizes in ({"P": 1, "Dv": 16}, {"P": 2}, {"S": 9, "Dv": 16}):
        q, k, v = qkv(dtype=dtype, **sizes)
        for causal in (True, False):
            got = diff_attention(
                q, k, v, 0.5, scale=scale, causal=causal, backend=backend
            )
            want = oracle(q, k, v, 0.5, scale, causal)
            bound = 8 * torch.finfo(dtype).eps
            torch.testing.assert_close(
                got.double(), want, atol=max(bound, 1e-6), rtol=bound
            )


@pytest.mark.parametrize("scale", SCALES)
def test_gradients_at_any_scale(scale):
    found = []
    for backend in ("sdpa", "eager"):
        given = [x.double().requires_grad_() for x in qkv(P=1, Dv=16)]
        y = diff_attention(*given, 0.5, scale=scale, backend=backend)
        found.append(torch.autograd.grad(y.square().sum(), given))
    torch.testing.assert_close(*found, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("scale", SCALES)
def test_plain_attention_and_maps_at_any_scale(scale):
    q, k, v = qkv(P=1, Dv=16, Hkv=4)
    q, k = q.double(), k.double()
    want = oracle(q, k, v, 0.0, scale, True)
    got = softmax_attention(q[:, :, 0], k[:, :, 0], v.double(), scale=scale)
    torch.testing.assert_close(got, want)
    A1 = attention_maps(q, k, 0.5, scale=scale).A1
    torch.testing.assert_close(A1 @ v.double(), want)


def test_only_one_place_asks_sdpa_for_a_causal_mask():
    """Another one would need `positive_scale` too."""
    found = [
        path.name
        for part in ("ops", "nn", "training", "evaluation")
        for path in (ROOT / "minidiff" / part).rglob("*.py")
        if "is_causal=" in path.read_text(encoding="utf-8")
    ]
    assert found == ["sdpa.py"]


@pytest.mark.parametrize("eps", [0.0, 1e-60, 1e-5])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("backend", BACKENDS)
def test_rows_that_see_nothing_are_zeros(backend, weighted, eps):
    q, k, v = qkv()
    weight = torch.rand(32) if weighted else None
    lengths = torch.tensor([0, 5])
    learn = backend != "flex"
    given = [x.requires_grad_(learn) for x in (q, k, v)]
    y = diff_attention(
        *given, 0.5, norm_scale=0.7, norm_weight=weight, eps=eps,
        key_lengths=lengths, backend=backend,
    )  # fmt: skip
    assert not y[0].any()
    rest = [x[1:].detach() for x in given]
    want = diff_attention(
        *rest, 0.5, norm_scale=0.7, norm_weight=weight, eps=eps,
        key_lengths=lengths[1:], backend="eager",
    )  # fmt: skip
    torch.testing.assert_close(y[1:].detach(), want, atol=1e-5, rtol=1e-4)
    if learn:
        for x in torch.autograd.grad(y.square().sum(), given):
            assert x.isfinite().all()
            assert not x[0].any()


@pytest.mark.parametrize("backend", BACKENDS)
def test_equal_maps_and_no_eps(backend):
    """o = 0 everywhere: 0 / 0 without an eps."""
    q, k, v = qkv()
    y = diff_attention(
        0 * q, k, v, 1.0, norm_scale=0.5, eps=0, causal=False, backend=backend
    )
    assert y.isfinite().all()


def test_no_keys_at_all_are_refused():
    """SDPA with enable_gqa divides by their heads, and the process ends."""
    q, k = torch.ones(1, 2, 3, 4), torch.ones(1, 0, 3, 4)
    with pytest.raises(ValueError, match=r"k: got shape \(1, 0, 3, 4\)"):
        softmax_attention(q, k, torch.ones(1, 1, 3, 4))
