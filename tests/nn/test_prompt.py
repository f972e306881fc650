import pytest
import torch

from minidiff.nn.config import ModelConfig
from minidiff.nn.key_scores import h2o, key_weights, scores_of
from minidiff.nn.model import DecoderLM
from minidiff.nn.prompt import read_prompt


def model_of(kind):
    torch.manual_seed(0)
    config = ModelConfig(
        vocab_size=20,
        embed_dim=32,
        num_layers=2,
        num_heads=4,
        max_length=16,
        attention=kind,
    )
    return DecoderLM(config).double().requires_grad_(False)


def row():
    return torch.randint(20, (2, 10), generator=torch.manual_seed(1))


@pytest.mark.parametrize("kind", ["softmax", "diff", "diff_v2"])
def test_logits_and_scores_are_those_of_a_plain_call(kind):
    model, tokens = model_of(kind), row()
    cache = model.new_cache(2, budget=3)
    logits, scores = read_prompt(
        model,
        tokens,
        cache,
        lambda maps: h2o(key_weights(maps, "difference")),
    )
    expected, maps = model(tokens, return_maps=True)
    torch.testing.assert_close(logits, expected[:, -1], rtol=0, atol=1e-12)
    for found, of_layer in zip(scores, maps, strict=True):
        assert torch.equal(found, h2o(key_weights(of_layer, "difference")))
    assert [part.held for part in cache] == [10, 10], "nothing is evicted yet"
    for part, of_layer in zip(cache, scores, strict=True):
        part.evict(of_layer)
    assert [part.held for part in cache] == [3, 3]
    # The hooks are gone.
    assert model(tokens, cache=None).shape == (2, 10, 20)


def test_a_prompt_may_come_in_parts():
    model, tokens = model_of("diff"), row()
    cache = model.new_cache(2)
    score = scores_of("diff", window=2)["h2o, mass"]
    read_prompt(model, tokens[:, :6], cache, score)
    logits, scores = read_prompt(model, tokens[:, 6:], cache, score)
    expected, maps = model(tokens, return_maps=True)
    torch.testing.assert_close(logits, expected[:, -1], rtol=0, atol=1e-12)
    mass = key_weights(maps[1], "mass")[:, :, 6:]
    torch.testing.assert_close(scores[1], h2o(mass), rtol=0, atol=1e-12)


def test_a_score_that_fails_leaves_model_and_cache_as_they_were():
    model, tokens = model_of("diff"), row()
    cache = model.new_cache(2)

    def score(maps):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        read_prompt(model, tokens, cache, score)
    assert [part.length for part in cache] == [0, 0]
    assert not any(b.attention._forward_hooks for b in model.blocks)


def test_tokens_that_are_no_rows_are_refused():
    model = model_of("diff")
    with pytest.raises(ValueError, match="tokens: got 1 axes"):
        read_prompt(model, row()[0], model.new_cache(1), h2o)
    with pytest.raises(TypeError, match="tokens: got list"):
        read_prompt(model, row().tolist(), model.new_cache(2), h2o)
