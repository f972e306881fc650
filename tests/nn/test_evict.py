"""A cache with a budget: what is kept, where it stands, what is refused."""

import weakref

import pytest
import torch

from minidiff.nn.attention import MultiheadAttention
from minidiff.nn.cache import KVCache
from minidiff.nn.config import ModelConfig
from minidiff.nn.model import DecoderLM
from minidiff.ops.logits import logits_through

KINDS = ("softmax", "diff", "diff_v2")
P, T, N = 9, 13, 4  # tokens of the prompt, of the row, keys kept


def model_of(kind, kv_heads=None):
    torch.manual_seed(0)
    config = ModelConfig(
        vocab_size=20,
        embed_dim=32,
        num_layers=2,
        num_heads=4,
        num_kv_heads=kv_heads,
        max_length=16,
        attention=kind,
    )
    return DecoderLM(config).double().requires_grad_(False)


def row():
    return torch.randint(20, (2, T), generator=torch.manual_seed(1))


def random_scores(model, seed=2):
    """Different ones for each layer, (B, H, P)."""
    generator = torch.manual_seed(seed)
    H = model.config.heads
    return [torch.rand(2, H, P, generator=generator) for _ in model.blocks]


def filled(n, *, budget, capacity=8):
    """A cache of two key heads whose keys and values tell their position."""
    cache = KVCache((1, 2, capacity, 1), (1, 2, capacity, 1), budget=budget)
    k = torch.arange(float(n)).view(1, 1, n, 1).repeat(1, 2, 1, 1)
    cache.append(k, -k)
    return cache


def held_positions(cache):
    k, v = (x[0, :, : cache.held, 0] for x in (cache._k, cache._v))
    assert torch.equal(k, -v)
    return k.tolist()


@pytest.mark.parametrize("budget", [P, P + 2])
@pytest.mark.parametrize("kind", KINDS)
def test_a_budget_that_suffices_changes_no_bit(kind, budget):
    model, tokens = model_of(kind), row()
    plain, budgeted = model.new_cache(2), model.new_cache(2, budget=budget)
    outputs = []
    for cache in (plain, budgeted):
        model(tokens[:, :P], cache)
        if cache is budgeted:
            for part, scores in zip(cache, random_scores(model), strict=True):
                memory = part._k.data_ptr()
                kept = part.evict(scores)
                every = torch.arange(P).expand_as(kept)
                assert torch.equal(kept, every) and part.evicted == 0
                assert part._k.data_ptr() == memory, "a copy without need"
        outputs.append(model(tokens[:, P:], cache))
    assert torch.equal(*outputs)


@pytest.mark.parametrize(
    "kind, kv_heads",
    [(kind, None) for kind in KINDS]
    + [("softmax", 2), ("diff", 2), ("diff_v2", 1)],
)
@pytest.mark.parametrize("steps", [[4], [1, 1, 1, 1], [3, 1]])
def test_the_rest_is_read_as_if_evicted_keys_were_masked(
    kind, kv_heads, steps
):
    model, tokens = model_of(kind, kv_heads), row()
    cache, full = model.new_cache(2, T, budget=N), model.new_cache(2, T)
    model(tokens[:, :P], cache)
    model(tokens[:, :P], full)
    gone = []
    for part, scores in zip(cache, random_scores(model), strict=True):
        kept = part.evict(scores)
        H, Hkv = scores.shape[1], kept.shape[1]
        missing = torch.ones(2, Hkv, T, dtype=torch.bool)
        missing.scatter_(2, kept, False)
        missing[..., P:] = False
        assert (missing.sum(-1) == P - N).all()
        gone.append(missing.repeat_interleave(H // Hkv, 1))
    calls = iter(2 * gone)

    def masked(logits, mask):
        missing = next(calls)[:, :, None, : logits.shape[-1]]
        if logits.ndim == 5:
            missing = missing[:, :, None]
        return logits.masked_fill(missing, float("-inf"))

    with logits_through(masked):
        expected = model(tokens[:, P:], full, backend="eager")
    found = torch.cat(
        [model(part, cache) for part in tokens[:, P:].split(steps, 1)], 1
    )
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    assert [part.length for part in cache] == [T, T]
    assert [part.held for part in cache] == [T - P + N] * 2


def test_each_head_keeps_its_own_keys_in_order():
    cache = filled(6, budget=3)
    scores = torch.tensor([[[5.0, 0, 9, 1, 2, 7], [1, 1, 1, 1, 0, 0]]])
    kept = cache.evict(scores)
    # Of equal scores the later ones are kept.
    assert kept.tolist() == [[[0, 2, 5], [1, 2, 3]]]
    assert held_positions(cache) == [[0, 2, 5], [1, 2, 3]]
    assert (cache.length, cache.held, cache.evicted) == (6, 3, 3)


def test_heads_that_share_keys_are_averaged():
    cache = filled(3, budget=1)
    scores = torch.tensor([[[0.0, 5, 4], [9, 5, 4], [0, 0, 1], [0, 3, 1]]])
    assert cache.evict(scores).tolist() == [[[1], [1]]]


def test_a_second_eviction_chooses_among_what_is_held():
    cache = filled(6, budget=3, capacity=9)
    cache.evict(torch.tensor([[[5.0, 0, 9, 1, 2, 7]]]).expand(1, 2, 6))
    k = torch.tensor([6.0, 7.0]).view(1, 1, 2, 1).repeat(1, 2, 1, 1)
    cache.append(k, -k)
    assert held_positions(cache) == [[0, 2, 5, 6, 7]] * 2
    kept = cache.evict(torch.tensor([[[1.0, 9, 2, 8, 7]]]).expand(1, 2, 5))
    assert kept.tolist() == [[[1, 3, 4]] * 2]
    assert held_positions(cache) == [[2, 6, 7]] * 2
    assert (cache.length, cache.evicted, cache.capacity) == (8, 5, 9)


@pytest.mark.parametrize("kind", KINDS)
def test_memory_falls_to_the_budget_and_room_for_new_tokens(kind):
    model = model_of(kind)
    cache = model.new_cache(2, 12, budget=N)
    short = model.new_cache(2, N + 12 - P)
    model(row()[:, :P], cache)
    part = cache[0]
    before, old = part.nbytes, weakref.ref(part._k.untyped_storage())
    part.evict(random_scores(model)[0])
    assert part.nbytes == short[0].nbytes == before * (N + 12 - P) // 12
    owned = (x.untyped_storage().nbytes() for x in (part._k, part._v))
    assert sum(owned) == part.nbytes
    assert old() is None, "the old keys are still in memory"
    assert part.numbers_per_token == short[0].numbers_per_token


def test_capacity_counts_all_tokens_and_positions_go_on():
    model, tokens = model_of("diff"), row()
    cache = model.new_cache(2, 11, budget=N)
    model(tokens[:, :P], cache)
    for part, scores in zip(cache, random_scores(model), strict=True):
        part.evict(scores)
        assert (part.capacity, part.length) == (11, P)
    with pytest.raises(ValueError, match="3 more tokens, but 9 of 11 places"):
        model(tokens[:, P : P + 3], cache)
    assert [part.held for part in cache] == [N, N]
    model(tokens[:, P : P + 2], cache)
    assert [part.held for part in cache] == [N + 2, N + 2]
    # The model's window counts evicted tokens too, as they have positions.
    cache = model.new_cache(2, 30, budget=N)
    model(tokens[:, :P], cache)
    for part, scores in zip(cache, random_scores(model), strict=True):
        part.evict(scores)
    with pytest.raises(ValueError, match=r"a sequence of 17 .* = 16"):
        model(tokens[:, : 17 - P], cache)


def test_later_tokens_can_be_forgotten_but_not_evicted_ones():
    model, tokens = model_of("diff"), row()
    cache = model.new_cache(2, T, budget=N)
    model(tokens[:, :P], cache)
    for part, scores in zip(cache, random_scores(model), strict=True):
        part.evict(scores)
    once = model(tokens[:, P:], cache)
    for part in cache:
        part.length = P
    assert torch.equal(model(tokens[:, P:], cache), once)
    for part in cache:
        part.length = P - 1
    with pytest.raises(ValueError, match="length: got 8, expected at least 9"):
        model(tokens[:, P:], cache)


def test_refusals_name_what_came():
    cache, scores = filled(4, budget=2), torch.rand(1, 2, 4)
    with pytest.raises(ValueError, match="budget: got 0"):
        filled(4, budget=0)
    with pytest.raises(TypeError, match="budget: got bool"):
        filled(4, budget=True)
    with pytest.raises(ValueError, match="budget: the cache was made without"):
        filled(4, budget=None).evict(scores)
    for bad in (scores[:, :, :3], scores[:, :1], scores.repeat(2, 1, 1)):
        with pytest.raises(ValueError, match=r"scores: got shape \(.*S = 4"):
            cache.evict(bad)
    with pytest.raises(ValueError, match="scores: got 2 axes"):
        cache.evict(scores[0])
    with pytest.raises(TypeError, match=r"scores: got dtype torch.int64"):
        cache.evict(scores.long())
    with pytest.raises(ValueError, match="scores: got meta, expected cpu"):
        cache.evict(scores.to("meta"))
    with pytest.raises(ValueError, match="scores: got NaN"):
        cache.evict(scores * torch.nan)
    assert (cache.held, cache.evicted) == (4, 0)


def test_key_lengths_are_refused_after_an_eviction():
    module, lengths = MultiheadAttention(8, 2), torch.tensor([3])
    x = torch.randn(1, 4, 8)
    with torch.no_grad():
        cache = module.new_cache(1, 6, budget=2)
        module(x, cache=cache, key_lengths=lengths)
        cache.evict(torch.rand(1, 2, 4))
        with pytest.raises(ValueError, match=r"key_lengths: .* evicted 2"):
            module(x[:, :1], cache=cache, key_lengths=lengths)
        assert module(x[:, :1], cache=cache).shape == (1, 1, 8)
