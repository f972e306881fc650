"""Scores of keys, by hand-made maps, and what keeping by them loses."""

import pytest
import torch

from minidiff.nn.attention import MultiheadAttention
from minidiff.nn.cache import KVCache
from minidiff.nn.key_scores import (
    WEIGHTS,
    h2o,
    h2o_difference,
    key_weights,
    scores_of,
    snapkv,
    streaming,
)
from minidiff.ops import AttentionMaps, attention_maps, diff_attention

LAM = 0.5


def head(A1, A2, T=1):
    """Queries, keys of one head whose maps are the given rows, D = 1."""
    k = torch.tensor([A1, A2], dtype=torch.float64).log()
    return torch.ones(1, 1, 2, T, 1).double(), k.view(1, 1, 2, -1, 1)


def maps_of(*rows):
    """Maps of one head whose queries have the given rows (A1, A2)."""
    A1, A2 = torch.tensor(rows, dtype=torch.float64).unbind(1)
    A1, A2 = A1[None, None], A2[None, None]
    return AttentionMaps(A1, A2, A1 - LAM * A2)


def kept_by(scores, q, k, v, budget, lam=LAM):
    """Evict by scores; return the kept keys and the output of one query."""
    S = k.shape[3]
    cache = KVCache(k.shape, v.shape, dtype=k.dtype, budget=budget)
    cache.append(k, v)
    kept = cache.evict(scores)
    n = cache.held
    k, v = cache._k[:, :, :, :n], cache._v[:, :, :n]
    assert n == min(budget, S)
    out = diff_attention(q, k, v, lam, scale=1.0, backend="eager")
    return kept[0, 0].tolist(), out


def test_weights_of_both_kinds():
    maps = maps_of(([0.2, 0.5, 0.3], [0.4, 0.2, 0.4]))
    found = {w: key_weights(maps, w)[0, 0, 0].tolist() for w in WEIGHTS}
    assert found["first"] == [0.2, 0.5, 0.3]
    assert found["second"] == [0.4, 0.2, 0.4]
    assert found["mass"] == pytest.approx([0.3, 0.35, 0.35])
    assert found["difference"] == pytest.approx([0.0, 0.4, 0.1])
    negative = maps_of(([0.1, 0.9], [0.8, 0.2]))
    found = key_weights(negative, "difference")[0, 0, 0].tolist()
    assert found == pytest.approx([0.3, 0.8])
    plain = maps.A1
    assert all(key_weights(plain, w) is plain for w in WEIGHTS)
    with pytest.raises(ValueError, match="weights: got 'third'"):
        key_weights(maps, "third")


def test_streaming_keeps_sinks_and_the_most_recent():
    scores = streaming(torch.rand(1, 2, 3, 12))
    cache = KVCache((1, 2, 12, 1), (1, 2, 12, 1), budget=6)
    cache.append(torch.zeros(1, 2, 12, 1), torch.zeros(1, 2, 12, 1))
    assert cache.evict(scores).tolist() == [[[0, 1, 2, 3, 10, 11]] * 2]
    # With less than the sinks, the first ones; without sinks, a window.
    assert scores[0, 0].topk(2).indices.tolist() == [0, 1]
    window = streaming(torch.rand(1, 2, 3, 12), sinks=0)
    assert window[0, 0].topk(3).indices.tolist() == [11, 10, 9]
    with pytest.raises(ValueError, match="sinks: got 5, expected 0 to 4"):
        streaming(torch.rand(1, 1, 1, 4), sinks=5)


def test_h2o_divides_by_the_queries_that_see_a_key():
    A = torch.tensor([[1.0, 0, 0], [0.4, 0.6, 0], [0.1, 0.2, 0.7]])
    found = h2o(A[None, None])[0, 0]
    assert found.tolist() == pytest.approx([1.5 / 3, 0.8 / 2, 0.7])
    # The last two queries alone see keys 0, 1 and 1 both, and key 2 once.
    found = h2o(A[None, None, 1:])[0, 0]
    assert found.tolist() == pytest.approx([0.5 / 2, 0.8 / 2, 0.7])


def test_snapkv_pools_the_window_over_neighbours():
    A = torch.zeros(1, 1, 8, 8)
    A[..., 6:, 2] = torch.tensor([0.2, 0.4])  # mean 0.3
    A[..., 5, 0] = 1.0  # a query before the window
    A[..., 6:, 6] = 0.5  # a key of the window: no neighbour of key 5
    found = snapkv(A, window=2, kernel=3)[0, 0].tolist()
    inf = float("inf")
    assert found == pytest.approx([0, 0.1, 0.1, 0.1, 0, 0, inf, inf])
    found = snapkv(A, window=2, kernel=3, pooling="max")[0, 0].tolist()
    assert found == pytest.approx([0, 0.3, 0.3, 0.3, 0, 0, inf, inf])
    # At the border the mean divides by the kernel too.
    A[..., 6:, 0] = 0.6
    assert snapkv(A, window=2, kernel=3)[0, 0, 0].item() == pytest.approx(0.2)


def test_snapkv_equals_a_loop_over_keys():
    A = torch.rand(2, 3, 9, 12, dtype=torch.float64)
    found = snapkv(A, window=4, kernel=5)
    for j in range(8):
        near = A[:, :, 5:, max(0, j - 2) : min(8, j + 3)]
        expected = near.mean(2).sum(-1) / 5
        torch.testing.assert_close(found[..., j], expected, rtol=0, atol=1e-12)


def test_sizes_that_do_not_fit_are_refused():
    A = torch.rand(1, 1, 4, 8)
    with pytest.raises(ValueError, match=r"window: got 4, .* the 4 queries"):
        snapkv(A, window=4)
    with pytest.raises(ValueError, match="kernel: got 2, expected an odd"):
        snapkv(A, window=2, kernel=2)
    with pytest.raises(ValueError, match="pooling: got 'min'"):
        snapkv(A, window=2, pooling="min")
    with pytest.raises(ValueError, match="weights: got 3 axes"):
        h2o(A[0])
    with pytest.raises(ValueError, match="T = 8 queries and S = 4 keys"):
        h2o(A.mT)


def test_evicting_keys_without_weight_changes_nothing():
    torch.manual_seed(0)
    q, k, v = (
        torch.randn(1, 2, *shape, 4, dtype=torch.float64)
        for shape in ((2, 9), (2, 9), (9,))
    )
    dead = [1, 4, 6]
    # The last channel is a switch: exp(-1e4) is 0 in float64.
    q[..., -1], k[..., -1] = 1, 0
    k[..., dead, -1] = -1e4
    maps = attention_maps(q, k, LAM, scale=1.0)
    for weights in WEIGHTS:
        scores = h2o(key_weights(maps, weights))
        assert (scores[..., dead] == 0).all()
        last = q[:, :, :, -1:]
        full = diff_attention(last, k, v, LAM, scale=1.0, backend="eager")
        kept, out = kept_by(scores, last, k, v, 6)
        assert kept == [0, 2, 3, 5, 7, 8]
        torch.testing.assert_close(out, full, rtol=0, atol=1e-12)


def test_a_key_without_effect_may_carry_mass():
    """The trap of the normalisers: both denominators lose the key's part."""
    A1, A2 = [0.2, 0.5, 0.3], [0.4, 0.3, 0.3]
    q, k = head(A1, A2)
    v = torch.eye(3).double().view(1, 1, 3, 3)
    maps = attention_maps(q, k, LAM, scale=1.0)
    scores = h2o(key_weights(maps, "difference"))
    assert scores[0, 0, 0].item() == pytest.approx(0, abs=1e-15)
    full = diff_attention(q, k, v, LAM, scale=1.0, backend="eager")
    assert full.flatten().tolist() == pytest.approx([0, 0.35, 0.15])
    kept, out = kept_by(scores, q, k, v, 2)
    assert kept == [1, 2]
    # 0.5 / 0.8 - 0.3 / 0.6 / 2 and 0.3 / 0.8 - 0.3 / 0.6 / 2.
    assert out.flatten().tolist() == pytest.approx([0, 0.375, 0.125])


def test_the_difference_keeps_a_needle_that_others_lose():
    """Key 6 is the needle, and keys 0 to 3 are sinks of both maps."""
    A2 = [0.12] * 4 + [0.04] * 9
    A1 = [*A2[:6], 0.2, *A2[7:]]
    q, k = head(A1, A2)
    v = torch.zeros(1, 1, 13, 1).double()
    v[..., 6, :] = 1.0
    maps = attention_maps(q, k, 1.0, scale=1.0)
    mass, difference = (
        h2o(key_weights(maps, weights)) for weights in ("mass", "difference")
    )
    found = {
        "streaming": kept_by(streaming(maps.A), q, k, v, 8, lam=1.0),
        "mass": kept_by(mass, q, k, v, 4, lam=1.0),
        "difference": kept_by(difference, q, k, v, 4, lam=1.0),
    }
    kept = {name: keys for name, (keys, _) in found.items()}
    assert kept["streaming"] == [0, 1, 2, 3, 9, 10, 11, 12]
    assert kept["mass"] == [0, 1, 2, 3]
    assert 6 in kept["difference"]
    assert found["mass"][1] == found["streaming"][1] == 0
    assert maps.A[0, 0, 0, 6].item() == pytest.approx(0.2 - 0.04 / 0.84)
    assert found["difference"][1].item() > 0.15


@pytest.mark.parametrize("pooling", ["mean", "max"])
def test_the_question_may_choose_what_is_kept(pooling):
    """Query-aware and question-blind differ in the order of the calls."""
    module = MultiheadAttention(10, 1).double()
    with torch.no_grad():
        for proj in (module.q_proj, module.k_proj):
            proj.weight.copy_(6 * torch.eye(10))  # equal tokens attend
    x = torch.eye(10).double()[None]
    question = x[:, 3:4]

    def kept(first, second):
        cache = module.new_cache(1, 12, budget=3)
        _, maps = module(first, cache=cache, return_maps=True)
        cache.length = 10  # forget the question, if it was read
        scores = snapkv(maps, window=1, kernel=1, pooling=pooling)
        found = cache.evict(scores[..., :10])[0, 0].tolist()
        _, maps = module(second, cache=cache, return_maps=True)
        return found, maps[0, 0, 0, found.index(3) if 3 in found else -1]

    with torch.no_grad():
        aware, weight = kept(torch.cat([x, question], 1), question)
        assert 3 in aware and weight > 0.49  # the other half is its own key
        blind, _ = kept(x, question)
    assert 3 not in blind and 9 in blind


def test_scores_of_both_kinds():
    A1, A2 = torch.rand(2, 1, 1, 6, 6, dtype=torch.float64).tril()
    maps = AttentionMaps(A1, A2, A1 - LAM * A2)
    plain, diff = scores_of("softmax", 2), scores_of("diff", 2)
    assert list(plain) == ["streaming", "h2o", "snapkv"]
    assert len(diff) == 9 and diff.keys() == scores_of("diff_v2", 2).keys()
    for weights in WEIGHTS:
        of = key_weights(maps, weights)
        assert torch.equal(diff[f"h2o, {weights}"](maps), h2o(of))
        expected = snapkv(of, window=2)
        assert torch.equal(diff[f"snapkv, {weights}"](maps), expected)
    assert torch.equal(diff["streaming"](maps), streaming(A1))
    assert torch.equal(plain["streaming"](A1), streaming(A1))
    assert torch.equal(plain["h2o"](A1), h2o(A1))
    assert torch.equal(plain["snapkv"](A1), snapkv(A1, window=2))


def test_h2o_of_the_difference():
    maps = maps_of(([0.2, 0.5, 0.3], [0.4, 0.2, 0.4]))
    found = h2o_difference(maps)[0, 0].tolist()
    assert found == pytest.approx([0.0, 0.4, 0.1])
    assert torch.equal(h2o_difference(maps.A1), h2o(maps.A1))
