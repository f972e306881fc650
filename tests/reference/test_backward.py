"""The hand-derived gradients against finite differences."""

import numpy as np
import pytest

from minidiff import reference as ref


def test_softmax_backward():
    rng = np.random.default_rng(0)
    x, dy = rng.normal(size=(2, 3, 5))
    got = ref.softmax_backward(ref.softmax(x), dy)
    want = ref.numerical_gradient(lambda x: (ref.softmax(x) * dy).sum(), x)
    np.testing.assert_allclose(got, want, atol=1e-9)


CASES = {
    "V1": dict(H=2, Hkv=2, P=2, T=4, S=4, Dv=6, lam=()),
    "V1 grouped, T < S": dict(H=4, Hkv=2, P=2, T=3, S=5, Dv=6, lam=(1, 4, 1)),
    "V2 grouped": dict(H=4, Hkv=1, P=1, T=3, S=3, Dv=3, lam=(2, 4, 3)),
}


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_every_gradient(case, padded, norm):
    c = CASES[case]
    rng = np.random.default_rng(1)
    B, D = 2, 3
    x = {
        "q": rng.normal(size=(B, c["H"], 2, c["T"], D)),
        "k": rng.normal(size=(B, c["Hkv"], c["P"], c["S"], D)),
        "v": rng.normal(size=(B, c["Hkv"], c["S"], c["Dv"])),
        "lam": rng.normal(size=c["lam"]),
    }
    options = dict(scale=0.7)
    if padded:
        options["key_lengths"] = np.array([c["S"] - 1, 0])
    if norm:
        x["norm_weight"] = rng.normal(size=c["Dv"])
        # Rows with no key are exactly zero; a larger eps keeps the norm
        # smooth there, so that finite differences mean something.
        options |= dict(norm_scale=0.8, eps=0.1)
    dout = rng.normal(size=(B, c["H"], c["T"], c["Dv"]))
    got = ref.diff_attention_backward(dout, **x, **options)

    for name in x:

        def loss(value, name=name):
            out = ref.diff_attention(**(x | {name: value}), **options)
            return (out * dout).sum()

        want = ref.numerical_gradient(loss, x[name])
        assert np.abs(want).max() > 1e-3
        np.testing.assert_allclose(
            getattr(got, name), want, atol=1e-8, err_msg=name
        )


def test_no_norm_no_norm_gradient():
    rng = np.random.default_rng(2)
    q, k = rng.normal(size=(2, 1, 1, 2, 2, 2))
    v = rng.normal(size=(1, 1, 2, 4))
    dout = np.ones((1, 1, 2, 4))
    got = ref.diff_attention_backward(dout, q, k, v, 0.3)
    assert got.norm_weight is None
    assert got.lam.shape == ()


def test_under_the_norm_the_first_delta_follows_from_the_second():
    """D1 = lam D2 + eps r^3 sum(g o): the norm makes one of them spare."""
    rng = np.random.default_rng(3)
    q, k = rng.normal(size=(2, 1, 2, 2, 5, 4))
    v, dy = rng.normal(size=(2, 1, 2, 5, 8))
    lam, eps = 0.6, 1e-5
    A1 = ref.attention_map(q[:, :, 0], k[:, :, 0])
    A2 = ref.attention_map(q[:, :, 1], k[:, :, 1])
    o1, o2 = A1 @ v, A2 @ v
    o = o1 - lam * o2
    do, _ = ref.headwise_norm_backward(o, dy, 1.0, 0.4, eps)
    r = 1 / np.sqrt((o**2).mean(-1) + eps)
    tiny = eps * r**3 * (0.4 * dy * o).sum(-1)
    D1, D2 = (do * o1).sum(-1), (do * o2).sum(-1)
    np.testing.assert_allclose(D1, lam * D2 + tiny, atol=1e-12)
    assert np.abs(tiny).max() < 1e-2 * np.abs(D1).max()
