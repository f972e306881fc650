"""Sampling: cache equals full forward; temperature and top-p by hand."""

import pytest
import torch

from minidiff.generate import generate, keep_top_p, sample
from tests import small

PROMPT = torch.tensor([[1, 2, 3], [4, 5, 6]])


@pytest.mark.parametrize("attention", ["softmax", "diff", "diff_v2"])
def test_with_and_without_cache(attention):
    model = small.model(attention).double()
    for options in ({"temperature": 0.0}, {"seed": 3, "top_p": 0.9}):
        with_cache, without = (
            generate(model, PROMPT, max_new_tokens=9, cache=c, **options)
            for c in (True, False)
        )
        assert torch.equal(with_cache, without)
        assert with_cache.shape == (2, 12)
        assert torch.equal(with_cache[:, :3], PROMPT)


def test_greedy_is_the_argmax():
    model = small.model()
    row = generate(model, PROMPT, max_new_tokens=4, temperature=0)
    for t in range(3, 7):
        assert torch.equal(model(row[:, :t])[:, -1].argmax(-1), row[:, t])


def test_a_seed_repeats_and_another_does_not():
    model = small.model()
    a, b, c = (
        generate(model, PROMPT, max_new_tokens=12, seed=s) for s in (1, 1, 2)
    )
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


def test_temperature_changes_frequencies_as_it_should():
    logits = torch.tensor([[0.0, 1.0, 2.0]]).expand(20000, 3)
    generator = torch.Generator().manual_seed(0)
    drawn = sample(logits, 2.0, 1.0, generator)
    got = torch.bincount(drawn) / 20000
    want = (logits[0] / 2.0).softmax(-1)
    torch.testing.assert_close(got, want, atol=0.02, rtol=0)


@pytest.mark.parametrize(
    ("p", "kept"),
    [(0.1, [1]), (0.5, [1]), (0.51, [1, 3]), (0.8, [1, 3]), (0.81, [1, 3, 0])],
)
def test_top_p_keeps_the_smallest_set(p, kept):
    row = torch.tensor([[0.15, 0.5, 0.05, 0.3]], dtype=torch.float64)
    out = keep_top_p(row, p)
    assert set(out[0].nonzero()[:, 0].tolist()) == set(kept)
    assert torch.equal(out[0, kept], row[0, kept])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens: got 0"),
        ({"max_new_tokens": 14}, "expected at most 13"),
        ({"temperature": -1.0}, "temperature: got -1.0"),
        ({"top_p": 0.0}, "top_p: got 0.0"),
        ({"top_p": 1.5}, "top_p: got 1.5"),
        ({"tokens": torch.zeros(2, 0, dtype=torch.int64)}, "tokens: got"),
    ],
)
def test_bad_input_is_named(options, message):
    arguments = {"tokens": PROMPT, "max_new_tokens": 2} | options
    with pytest.raises(ValueError, match=message):
        generate(small.model(), **arguments)
