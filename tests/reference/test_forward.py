"""Loops and arrays agree, and the formulas do what the paper says."""

import numpy as np
import pytest

from minidiff import reference as ref

RNG = np.random.default_rng


def one_head(seed, T, S, D, Dv):
    rng = RNG(seed)
    q1, q2 = rng.normal(size=(2, T, D))
    k1, k2 = rng.normal(size=(2, S, D))
    return q1, k1, q2, k2, rng.normal(size=(S, Dv))


def test_softmax_sums_to_one_and_survives_large_logits():
    x = np.array([[1e4, 1e4 - 1, -np.inf], [0.0, 1.0, 2.0]])
    y = ref.softmax(x)
    np.testing.assert_allclose(y.sum(-1), 1, rtol=1e-15)
    assert y[0, 2] == 0
    np.testing.assert_allclose(y[0, 0] / y[0, 1], np.e, rtol=1e-12)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize(("T", "S"), [(1, 1), (5, 5), (3, 7)])
def test_attention_map_equals_loops(T, S, causal):
    q, k = one_head(0, T, S, 4, 8)[:2]
    np.testing.assert_allclose(
        ref.attention_map(q, k, causal),
        ref.attention_map_loops(q, k, causal),
        atol=1e-14,
    )


@pytest.mark.parametrize("lam", [0.0, 0.8, 1.0, -0.3, 1.2])
@pytest.mark.parametrize(("T", "S"), [(1, 1), (6, 6), (2, 5)])
def test_diff_head_equals_loops(T, S, lam):
    head = one_head(1, T, S, 4, 8)
    np.testing.assert_allclose(
        ref.diff_head(*head, lam), ref.diff_head_loops(*head, lam), atol=1e-14
    )


def test_rows_of_the_difference_sum_to_one_minus_lam():
    q1, k1, q2, k2, _ = one_head(2, 7, 7, 4, 8)
    A = ref.diff_map(q1, k1, q2, k2, 0.8)
    np.testing.assert_allclose(A.sum(-1), 0.2, atol=1e-14)
    assert A[0, 0] == pytest.approx(0.2)
    assert (A < 0).any()


def test_equal_branches_with_lam_one_cancel():
    q1, k1, _, _, v = one_head(3, 5, 5, 4, 8)
    assert not ref.diff_head(q1, k1, q1, k1, v, 1.0).any()


def test_lambda_init_is_the_papers_table():
    depths = (0, 1, 2, 3, 5, 7, 11, 15, 23)
    table = (0.2, 0.3555, 0.4707, 0.5561, 0.6661, 0.7265, 0.7779, 0.7933)
    got = [ref.lambda_init(depth) for depth in depths]
    assert got[0] == pytest.approx(0.2, abs=1e-15)
    np.testing.assert_allclose(got, (*table, 0.7994), atol=5e-5)


def test_lambda_starts_at_lambda_init_when_its_vectors_are_zero():
    zero = np.zeros(8)
    assert ref.lambda_value(zero, zero, zero, zero, 0.47) == 0.47


def test_lambda_value_by_hand():
    one, half = np.ones(2), np.full(2, 0.5)
    expected = np.exp(1.0) - np.exp(2.0) + 0.8
    assert ref.lambda_value(one, half, one, one, 0.8) == pytest.approx(
        expected
    )


def test_headwise_norm_equals_loops_and_has_the_promised_size():
    rng = RNG(4)
    o = rng.normal(size=(3, 5, 8)) * [[[10.0]], [[1.0]], [[0.1]]]
    weight = rng.normal(size=8)
    np.testing.assert_allclose(
        ref.headwise_norm(o, weight, 0.2),
        ref.headwise_norm_loops(o, weight, 0.2),
        atol=1e-14,
    )
    y = ref.headwise_norm(o, scale=0.2, eps=0)
    np.testing.assert_allclose(np.sqrt((y**2).mean(-1)), 0.2, rtol=1e-12)


@pytest.mark.parametrize("P", [1, 2])
@pytest.mark.parametrize("Hkv", [1, 2, 4])
def test_operator_equals_an_explicit_loop_over_pairs(Hkv, P):
    rng = RNG(5)
    B, H, T, S, D, Dv = 2, 4, 3, 6, 4, 5
    q = rng.normal(size=(B, H, 2, T, D))
    k = rng.normal(size=(B, Hkv, P, S, D))
    v = rng.normal(size=(B, Hkv, S, Dv))
    lam = rng.normal(size=(B, H, 1))
    out = ref.diff_attention(q, k, v, lam)
    for b in range(B):
        for h in range(H):
            g = h // (H // Hkv)
            one = ref.diff_head_loops(
                q[b, h, 0],
                k[b, g, 0],
                q[b, h, 1],
                k[b, g, P - 1],
                v[b, g],
                lam[b, h, 0],
            )
            np.testing.assert_allclose(out[b, h], one, atol=1e-13)


def test_key_lengths_cut_the_keys_and_empty_rows_are_zero():
    rng = RNG(6)
    q = rng.normal(size=(3, 2, 2, 4, 4))
    k = rng.normal(size=(3, 2, 2, 4, 4))
    v = rng.normal(size=(3, 2, 4, 8))
    out = ref.diff_attention(
        q, k, v, 0.5, causal=False, key_lengths=np.array([4, 3, 0])
    )
    full = ref.diff_attention(q, k, v, 0.5, causal=False)
    cut = ref.diff_attention(
        q[1:2], k[1:2, :, :, :3], v[1:2, :, :3], 0.5, causal=False
    )
    np.testing.assert_allclose(out[0], full[0], atol=1e-14)
    np.testing.assert_allclose(out[1], cut[0], atol=1e-14)
    assert not out[2].any()
