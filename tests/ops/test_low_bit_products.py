"""Products of queries and keys in 8 bits: the readable reference."""

import pytest
import torch

from minidiff import diff_attention
from minidiff.ops import attention_maps
from minidiff.ops.low_bit_products import (
    KEY_BLOCK,
    QUERY_BLOCK,
    centred_keys,
    quantise_blocks,
)

PRECISIONS = pytest.mark.parametrize("precision", ["int8", "fp8"])
# A relative error that 8 bits have with normal numbers and D = 64.
USUAL = {"int8": 0.02, "fp8": 0.08}


def given(dtype=torch.float32, P=2, T=150, S=170, D=64):
    g = torch.Generator().manual_seed(0)
    q = torch.randn(2, 4, 2, T, D, generator=g, dtype=dtype)
    k = torch.randn(2, 2, P, S, D, generator=g, dtype=dtype)
    v = torch.randn(2, 2, S, 2 * D, generator=g, dtype=dtype)
    return q, k, v


def error(got, want):
    return float((got - want).norm() / want.norm())


def by_integers(q, k, v, lam, scale):
    """The same for one row, head by head and block by block, causal."""
    (H, _, T, _), (Hkv, P, S, _) = q.shape, k.shape
    out = torch.empty(H, T, v.shape[-1])
    for h in range(H):
        maps = []
        for j in range(2):
            keys = k[h * Hkv // H, j if P == 2 else 0]
            keys = keys - keys.mean(0)
            logits = torch.empty(T, S)
            for t in range(0, T, 128):
                a = q[h, j, t : t + 128]
                step_a = a.abs().max() / 127
                for s in range(0, S, 64):
                    b = keys[s : s + 64]
                    step_b = b.abs().max() / 127
                    whole = (a / step_a).round().int() @ (
                        (b / step_b).round().int().T
                    )
                    logits[t : t + 128, s : s + 64] = whole * step_a * step_b
            hidden = torch.ones(T, S, dtype=torch.bool).triu(S - T + 1)
            logits = (logits * scale).masked_fill(hidden, -torch.inf)
            maps.append(logits.softmax(-1))
        out[h] = (maps[0] - lam * maps[1]) @ v[h * Hkv // H]
    return out


@pytest.mark.parametrize("P", [1, 2])
def test_int8_is_an_integer_product_of_blocks(P):
    q, k, v = given(P=P, D=16)
    got = diff_attention(q, k, v, 0.7, precision="int8")
    for b in range(2):
        want = by_integers(q[b], k[b], v[b], 0.7, 0.25)
        torch.testing.assert_close(got[b], want, atol=2e-5, rtol=2e-5)


@PRECISIONS
def test_the_error_is_that_of_8_bits(precision):
    q, k, v = given()
    want = diff_attention(q, k, v, 0.0)  # one branch
    got = diff_attention(q, k, v, 0.0, precision=precision)
    assert 0 < error(got, want) < USUAL[precision]


@PRECISIONS
@pytest.mark.parametrize("rows", [7, 64, 170, 200])
def test_codes_are_within_half_a_step_and_use_the_whole_range(rows, precision):
    x = given()[1] * torch.logspace(-2, 2, 170)[:, None]
    codes, scales = quantise_blocks(x, precision, rows)
    assert codes.shape == x.shape
    assert scales.shape == (*x.shape[:-2], -(-170 // rows))
    for i, part in enumerate(x.split(rows, -2)):
        c = codes[..., i * rows : (i + 1) * rows, :].float()
        s = scales[..., i, None, None]
        most = 127 if precision == "int8" else 448
        assert (c.abs().amax((-2, -1)) == most).all()
        size = part.abs()
        step = s if precision == "int8" else torch.maximum(size / 8, s / 512)
        assert ((c * s - part).abs() <= step * 0.501).all()


def test_a_mean_less_changes_no_map():
    q, k, _ = given(torch.float64)
    k[:, :, 0] += 3.0  # another offset in each branch
    k[:, :, 1] -= 50.0
    want = attention_maps(q, k, 0.7)
    got = attention_maps(q, centred_keys(k, None), 0.7)
    torch.testing.assert_close(got, want)


@PRECISIONS
def test_a_common_offset_of_the_keys_costs_nothing(precision):
    q, k, v = given()
    want = diff_attention(q, k, v, 0.0)
    offset = torch.full((64,), 100.0)
    got = diff_attention(q, k + offset, v, 0.0, precision=precision)
    assert error(got, want) < USUAL[precision]
    # Without the subtraction it costs more than ten times as much.
    codes, scales = quantise_blocks(k + offset, precision, KEY_BLOCK)
    of_key = scales.repeat_interleave(KEY_BLOCK, -1)[..., :170, None]
    kept = diff_attention(q, codes.float() * of_key, v, 0.0)
    assert error(kept, want) > 10 * error(got, want)


@PRECISIONS
@pytest.mark.parametrize("of", ["q", "k"])
def test_an_outlier_is_not_cut_off_and_spoils_its_block_alone(of, precision):
    q, k, v = given()
    x = q if of == "q" else k
    x[:, :, :, 140, 5] = 30.0  # in the last block of both
    want = diff_attention(q, k, v, 0.0, causal=False)
    got = diff_attention(
        q, k, v, 0.0, causal=False, precision=precision, backend="eager"
    )
    if of == "q":
        first, last = got.split((QUERY_BLOCK, 22), 2)
        exact, exact_last = want.split((QUERY_BLOCK, 22), 2)
        assert error(first, exact) < USUAL[precision]
        assert error(last, exact_last) < 0.5
        # The outlier's own row: its logits are right, not cut off.
        assert error(got[:, :, 140], want[:, :, 140]) < 0.2
    else:
        centred = centred_keys(k, None)
        codes, scales = quantise_blocks(centred, precision, KEY_BLOCK)
        assert (scales[..., :2] < 0.25 * scales[..., 2:]).all()
        top = codes[..., 140, 5].float() * scales[..., 2]
        torch.testing.assert_close(top, centred[..., 140, 5])
        assert error(got, want) < 0.5


@PRECISIONS
def test_padding_is_not_in_the_mean_and_may_hold_anything(precision):
    q, k, v = given(T=40, S=170)
    lengths = torch.tensor([170, 70])
    options = {"causal": False, "precision": precision, "norm_scale": 0.8}
    want = diff_attention(
        q[1:], k[1:, :, :, :70], v[1:, :, :70], 0.7, **options
    )
    k[1, :, :, 70:], v[1, :, 70:] = float("nan"), float("inf")
    got = diff_attention(q, k, v, 0.7, key_lengths=lengths, **options)
    torch.testing.assert_close(got[1:], want)
    assert got[0].isfinite().all()
    none = diff_attention(
        q, k * 0 + 1, v, 0.7, key_lengths=lengths * 0, **options
    )
    assert not none.any()


def test_nan_is_not_lost():
    q, k, v = given()
    k[0, 0, 1, 3, 2] = float("nan")
    got = diff_attention(q, k, v, 0.7, precision="int8")
    assert got[0, 0, -1].isnan().all() and got[1].isfinite().all()


def test_auto_is_the_reference_without_a_gpu():
    q, k, v = given(torch.bfloat16)
    got = diff_attention(q, k, v, 0.7, precision="int8")
    want = diff_attention(q, k, v, 0.7, precision="int8", backend="eager")
    assert got.dtype == torch.bfloat16 and torch.equal(got, want)


def test_float64_stays_float64():
    q, k, v = given(torch.float64)
    rounded = []
    for x, rows in ((q, QUERY_BLOCK), (centred_keys(k, None), KEY_BLOCK)):
        codes, scales = quantise_blocks(x, "int8", rows)
        of_row = scales.repeat_interleave(rows, -1)[..., : x.shape[-2], None]
        rounded.append(codes * of_row)
    want = diff_attention(*rounded, v, 0.7, backend="eager")
    got = diff_attention(q, k, v, 0.7, precision="int8")
    torch.testing.assert_close(got, want, atol=1e-12, rtol=1e-12)


@PRECISIONS
def test_gradients_are_refused_by_name(precision):
    q, k, v = given(T=3, S=5, D=16)
    options = {"precision": precision, "norm_scale": 0.8}
    weight = torch.ones(32, requires_grad=True)
    with pytest.raises(NotImplementedError, match="gradients of norm_weight"):
        diff_attention(q, k, v, 0.7, norm_weight=weight, **options)
    with torch.no_grad():
        diff_attention(q, k, v, 0.7, norm_weight=weight, **options)

    def total(k):
        return diff_attention(q, k, v, 0.7, **options).sum()

    says = f"got '{precision}' where gradients"
    with pytest.raises(NotImplementedError, match=says):
        torch.func.grad(total)(k)
    with pytest.raises(NotImplementedError, match=says):
        torch.func.jvp(total, (k,), (k,))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"precision": "int4", "backend": "sdpa"},
            "precision: got 'int4', expected one of",
        ),
        ({"precision": 8}, "precision: got 8, expected one of 'int8', 'fp8'"),
        (
            {"backend": "sdpa"},
            "precision: got 'int8' with backend 'sdpa', expected backend 'tr",
        ),
        ({"backend": "flex"}, "with backend 'flex', expected"),
        ({"codes": True}, "precision: got 'int8' with k_scale and v_scale"),
    ],
)
def test_what_does_not_exist_is_refused_by_name(change, message):
    q, k, v = given(T=3, S=5)
    options = {"precision": "int8"} | change
    if options.pop("codes", False):
        k, v = k.to(torch.int8), v.to(torch.int8)
        options["k_scale"] = torch.ones(2, 2, 2, 5, 1)
        options["v_scale"] = torch.ones(2, 2, 5, 1)
    with pytest.raises(ValueError, match=message):
        diff_attention(q, k, v, 0.7, **options)


@PRECISIONS
def test_a_later_token_changes_earlier_rounding_and_no_more(precision):
    q, k, v = given(T=170)
    options = {"precision": precision, "backend": "eager"}
    before = diff_attention(q, k, v, 0.0, **options)[:, :, :-1]
    k[:, :, :, -1] = 20.0
    after = diff_attention(q, k, v, 0.0, **options)[:, :, :-1]
    assert 0 < error(after, before) < 2 * USUAL[precision]
