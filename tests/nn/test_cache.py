import pytest
import torch

from minidiff.nn.attention import (
    MultiheadAttention,
    MultiheadDiffAttention,
    MultiheadDiffAttentionV2,
)
from minidiff.nn.cache import KVCache

E, D = 64, 8


def modules(kv):
    """Return matched modules; kv counts the plain model's key heads."""
    return {
        "softmax": MultiheadAttention(E, 8, kv),
        "diff": MultiheadDiffAttention(E, 4, kv // 2, depth=1),
        "diff_v2": MultiheadDiffAttentionV2(E, 4, kv // 2),
    }


def tokens(n, start=0.0):
    k = torch.arange(n * 8.0).view(1, 2, n, 4) + start
    return k, -k


def test_append_returns_views_of_everything_so_far():
    cache = KVCache((1, 2, 5, 4), (1, 2, 5, 4))
    k1, v1 = tokens(2)
    k2, v2 = tokens(3, 100.0)
    cache.append(k1, v1)
    memory = cache._k.data_ptr()
    k, v = cache.append(k2, v2)
    assert torch.equal(k, torch.cat([k1, k2], 2))
    assert torch.equal(v, torch.cat([v1, v2], 2))
    assert k.data_ptr() == memory, "a copy, not a view"
    assert (cache.length, cache.capacity) == (5, 5)


def test_a_full_cache_says_so_and_stays_as_it_was():
    cache = KVCache((1, 2, 3, 4), (1, 2, 3, 4))
    cache.append(*tokens(2))
    with pytest.raises(ValueError, match="2 more tokens, but 2 of 3 places"):
        cache.append(*tokens(2))
    assert cache.length == 2
    cache.append(*tokens(1))


def test_bad_input_is_refused_by_name():
    cache = KVCache((1, 2, 3, 4), (1, 2, 3, 4))
    k, v = tokens(1)
    with pytest.raises(ValueError, match=r"k: got shape \(2, 2, 1, 4\)"):
        cache.append(k.repeat(2, 1, 1, 1), v)
    with pytest.raises(ValueError, match=r"v: got shape \(1, 2, 1, 8\)"):
        cache.append(k, v.repeat(1, 1, 1, 2))
    with pytest.raises(ValueError, match="v: got 2 tokens, expected 1"):
        cache.append(k, tokens(2)[1])
    with pytest.raises(ValueError, match=r"k: got torch.float64 on cpu"):
        cache.append(k.double(), v)
    with pytest.raises(ValueError, match=r"k: .*records gradients"):
        cache.append(k.requires_grad_(), v)
    with pytest.raises(ValueError, match=r"v_shape: .*capacity 3"):
        KVCache((1, 2, 3, 4), (1, 2, 4, 4))
    assert cache.length == 0


@pytest.mark.parametrize("kind", ["softmax", "diff", "diff_v2"])
@pytest.mark.parametrize("steps", [[1] * 7, [4, 1, 2], [1, 6]])
@pytest.mark.parametrize("kv", [8, 4])
def test_decoding_with_a_cache_equals_the_full_forward(kind, steps, kv):
    torch.manual_seed(0)
    module = modules(kv)[kind].double()
    x = torch.randn(2, 7, E, dtype=torch.float64)
    with torch.no_grad():
        full = module(x)
        cache = module.new_cache(2, 9)
        parts = [module(part, cache=cache) for part in x.split(steps, 1)]
    torch.testing.assert_close(torch.cat(parts, 1), full, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kv", [8, 4, 2])
def test_numbers_per_token(kv):
    """A DIFF cache is as large as the matched plain model's."""
    held = {
        kind: module.new_cache(3, 5).numbers_per_token
        for kind, module in modules(kv).items()
    }
    h_kv = kv // 2
    assert held["softmax"] == 2 * kv * D
    assert held["diff"] == 2 * h_kv * D + h_kv * 2 * D == held["softmax"]
    assert held["diff_v2"] == 2 * h_kv * D


def test_maps_of_a_step_cover_the_cached_keys():
    module = modules(8)["diff"]
    with torch.no_grad():
        cache = module.new_cache(2, 8)
        module(torch.randn(2, 5, E), cache=cache)
        _, maps = module(torch.randn(2, 2, E), cache=cache, return_maps=True)
    assert maps.A.shape == (2, 4, 2, 7)


def test_a_cache_for_autocast_takes_its_dtype():
    module = modules(8)["diff"]
    cache = module.new_cache(1, 4, dtype=torch.bfloat16)
    x = torch.randn(1, 3, E)
    filled = module.new_cache(1, 4)
    with torch.no_grad():
        module(x[:, :1], cache=filled)
        with torch.autocast("cpu", torch.bfloat16):
            assert module(x, cache=cache).dtype == torch.bfloat16
            with pytest.raises(ValueError, match="make it with that dtype"):
                module(x, cache=filled)
