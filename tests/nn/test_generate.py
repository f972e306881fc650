import sys

import pytest
import torch

from minidiff.nn.config import ModelConfig
from minidiff.nn.generate import generate, keep_top_p, sample
from minidiff.nn.key_scores import h2o_difference
from minidiff.nn.model import DecoderLM

KINDS = ["softmax", "diff", "diff_v2"]


def make(attention="diff"):
    torch.manual_seed(0)
    config = ModelConfig(
        vocab_size=20,
        embed_dim=16,
        num_layers=2,
        num_heads=4,
        attention=attention,
        max_length=24,
    )
    model = DecoderLM(config)
    # Wider than at the start, so that logits differ and mistakes show.
    for parameter in model.parameters():
        parameter.data *= 5
    return model


PROMPT = torch.tensor([[1, 2, 3], [7, 5, 7]])


@pytest.mark.parametrize("attention", KINDS)
@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_cache_gives_what_full_forward_gives(attention, temperature):
    model = make(attention)
    options = {"max_new_tokens": 21, "temperature": temperature, "seed": 3}
    fast = generate(model, PROMPT, **options)
    slow = generate(model, PROMPT, **options, cache=False)
    assert fast.shape == (2, 24)
    assert torch.equal(fast[:, :3], PROMPT)
    assert torch.equal(fast, slow)


@pytest.mark.parametrize("attention", KINDS)
def test_a_budget_evicts_keys_of_the_prompt(attention):
    model, new = make(attention), {"max_new_tokens": 8, "temperature": 0}
    prompt = torch.randint(20, (2, 14), generator=torch.manual_seed(1))
    full = generate(model, prompt, **new)
    for enough in (14, 99):
        assert torch.equal(generate(model, prompt, **new, budget=enough), full)
    found = generate(model, prompt, **new, budget=2)
    assert not torch.equal(found, full)
    cache = model.new_cache(2, 22, budget=2)
    with torch.no_grad():
        logits, maps = model(prompt, cache, return_maps=True)
        for part, of_layer in zip(cache, maps, strict=True):
            part.evict(h2o_difference(of_layer))
        row, logits = prompt, logits[:, -1]
        for _ in range(8):
            row = torch.cat([row, logits.argmax(-1, keepdim=True)], 1)
            logits = model(row[:, -1:], cache)[:, -1]
    assert torch.equal(found, row)
    assert cache[0].held == 2 + 8


@pytest.mark.parametrize("attention", KINDS)
def test_greedy_takes_the_likeliest_each_time(attention):
    model = make(attention)
    row = generate(model, PROMPT, max_new_tokens=10, temperature=0)
    expected = model(row)[:, 2:-1].argmax(-1)
    assert torch.equal(row[:, 3:], expected)


def test_a_seed_makes_it_repeatable():
    model = make()
    torch.manual_seed(1)
    first = generate(model, PROMPT, max_new_tokens=15, seed=5)
    torch.manual_seed(2)
    assert torch.equal(
        first, generate(model, PROMPT, max_new_tokens=15, seed=5)
    )
    generator = torch.Generator().manual_seed(5)
    again = generate(model, PROMPT, max_new_tokens=15, seed=generator)
    assert torch.equal(first, again)
    other = generate(model, PROMPT, max_new_tokens=15, seed=6)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(
    ("top_p", "kept"),
    [(0.05, 1), (0.5, 1), (0.51, 2), (0.75, 2), (0.76, 3), (0.9, 4)],
)
def test_top_p_keeps_the_smallest_set_that_reaches_it(top_p, kept):
    # Powers of two, so that the sums are exact; order mixed on purpose.
    p = torch.tensor([[0.125, 0.5, 0.0625, 0.25, 0.0625]])
    ranking = [1, 3, 0, 2, 4]
    result = keep_top_p(p, top_p)
    assert result.nonzero()[:, 1].tolist() == sorted(ranking[:kept])
    assert torch.equal(result[result > 0], p[result > 0])


def test_samples_follow_the_distribution():
    logits = torch.tensor([0.5, 0.3, 0.2]).log().repeat(20000, 1)
    generator = torch.Generator().manual_seed(0)

    def shares(temperature, top_p):
        drawn = sample(logits, temperature, top_p, generator)
        return torch.bincount(drawn, minlength=3) / len(drawn)

    def near(got, *want):
        torch.testing.assert_close(got, torch.tensor(want), atol=0.02, rtol=0)

    near(shares(1.0, 1.0), 0.5, 0.3, 0.2)
    near(shares(1.0, 0.7), 0.625, 0.375, 0.0)
    near(shares(0.5, 1.0), 25 / 38, 9 / 38, 4 / 38)


def test_the_model_is_left_in_its_mode():
    model = make().train()
    generate(model, PROMPT, max_new_tokens=1)
    assert model.training


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"max_new_tokens": 22}, "got 22 after a prompt of 3 .* at most 21"),
        ({"max_new_tokens": 0}, "max_new_tokens: got 0"),
        ({"budget": 0}, "budget: got 0"),
        ({"budget": 2, "cache": False}, "budget: got 2 with cache=False"),
        ({"temperature": -1.0}, "temperature: got -1"),
        ({"temperature": float("nan")}, "temperature: got nan"),
        ({"top_p": 0.0}, "top_p: got 0"),
        ({"top_p": 1.5}, "top_p: got 1.5"),
        ({"tokens": torch.tensor([1, 2])}, "tokens: got shape"),
        ({"tokens": torch.zeros(1, 0, dtype=int)}, "tokens: got shape"),
    ],
)
def test_bad_input_is_named(arguments, message):
    good = {"tokens": PROMPT, "max_new_tokens": 2}
    with pytest.raises(ValueError, match=message):
        generate(make(), **(good | arguments))


@pytest.mark.parametrize("attention", KINDS)
def test_sliding_goes_on_with_the_last_half_of_the_window(attention):
    model, half, most = make(attention), 12, 24
    row, context = PROMPT, PROMPT
    for _ in range(40):
        if context.shape[1] > most:
            context = context[:, -half:]
        new = model(context)[:, -1].argmax(-1, keepdim=True)
        row, context = (torch.cat([x, new], 1) for x in (row, context))
    options = {"max_new_tokens": 40, "temperature": 0, "slide": True}
    for cache in (True, False):
        found = generate(model, PROMPT, **options, cache=cache)
        assert torch.equal(found, row)


def test_sliding_evicts_again_whenever_it_reads_again(monkeypatch):
    # minidiff.nn.generate is the function; its module is found here.
    module, read = sys.modules["minidiff.nn.generate"], []
    evict_prompt = module.evict_prompt

    def noted(model, tokens, cache, score):
        logits = evict_prompt(model, tokens, cache, score)
        read.append((tokens.shape[1], cache[0].held))
        return logits

    monkeypatch.setattr(module, "evict_prompt", noted)
    options = {"max_new_tokens": 40, "temperature": 0, "slide": True}
    generate(make(), PROMPT, **options, budget=2)
    assert read == [(PROMPT.shape[1], 2)] + [(12, 2)] * (len(read) - 1)
    assert len(read) == 3
    kept = generate(make(), PROMPT, **options, budget=24)
    assert torch.equal(kept, generate(make(), PROMPT, **options))


def test_sliding_changes_nothing_inside_the_window():
    options = {"max_new_tokens": 21, "seed": 3}
    want = generate(make(), PROMPT, **options)
    assert torch.equal(generate(make(), PROMPT, **options, slide=True), want)


def test_sliding_takes_a_prompt_that_fills_the_window_and_none_longer():
    full = torch.zeros(1, 24, dtype=int)
    options = {"max_new_tokens": 3, "slide": True}
    assert generate(make(), full, **options).shape == (1, 27)
    longer = torch.zeros(1, 25, dtype=int)
    with pytest.raises(ValueError, match=r"tokens: got 25 .* at most 24"):
        generate(make(), longer, **options)


def test_the_limit_says_how_to_go_past_it():
    with pytest.raises(ValueError, match="slide=True"):
        generate(make(), PROMPT, max_new_tokens=22)
