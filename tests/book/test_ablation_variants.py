"""The variants of the ablations, each against "diff"."""

import sys

import pytest
import torch
from committed import ROOT

from minidiff import ModelConfig
from minidiff.nn.kinds import build_kind

sys.path.insert(0, str(ROOT / "book" / "recipes"))

from variants import VARIANTS, VECTORS, build_variant

BASE = ModelConfig(
    vocab_size=32, embed_dim=32, num_layers=2, num_heads=4, max_length=16
)
IDS = torch.arange(24).view(2, 12)
NEW = {
    "lambda per head": set(VECTORS),
    "shared keys": {"k_proj.weight"},
    "lambda fixed": set(VECTORS),
}


def logits(model):
    with torch.no_grad():
        return model.double()(IDS, backend="eager")


def attention(variant, layer=1):
    model = build_variant(BASE, variant, seed=0).double()
    return model, model.blocks[layer].attention


@pytest.mark.parametrize("variant", VARIANTS)
def test_weights_are_those_of_diff_except_what_is_changed(variant):
    diff = build_kind(BASE, "diff", 0).state_dict()
    own = build_variant(BASE, variant, 0).state_dict()
    new = {
        name
        for name, value in own.items()
        if not torch.equal(value, diff[name])
    }
    assert {name.split("attention.")[-1] for name in new} == NEW.get(
        variant, set()
    )
    gone = {name.split("attention.")[-1] for name in set(diff) - set(own)}
    assert gone == ({"norm_weight"} if variant == "without norm" else set())


@pytest.mark.parametrize("variant", VARIANTS)
def test_each_variant_computes_something_else(variant):
    other = logits(build_variant(BASE, variant, 0))
    assert torch.isfinite(other).all()
    assert not torch.allclose(other, logits(build_kind(BASE, "diff", 0)))


def test_one_lambda_in_all_heads_is_that_of_diff():
    diff = build_kind(BASE, "diff", 0)
    model = build_variant(BASE, "lambda per head", 0)
    with torch.no_grad():
        for block, old in zip(model.blocks, diff.blocks, strict=True):
            for name in VECTORS:
                vectors = getattr(block.attention, name)
                vectors.copy_(getattr(old.attention, name).expand_as(vectors))
    assert torch.allclose(logits(model), logits(diff))


def test_lambda_fixed_stays_lambda_init():
    model, module = attention("lambda fixed")
    assert module.lam() == module.lam_init
    trained = {n for n, p in model.named_parameters() if p.requires_grad}
    assert not any("lambda" in name for name in trained)


def test_lambda_without_exp_is_the_difference_of_two_products():
    _, module = attention("lambda without exp")
    q1, k1, q2, k2 = (getattr(module, name) for name in VECTORS)
    want = (q1 @ k1 - q2 @ k2 + module.lam_init).item()
    assert module.lam().item() == pytest.approx(want)


def test_without_gain_the_heads_are_larger_by_the_gain():
    _, module = attention("without gain")
    old = build_kind(BASE, "diff", 0).double().blocks[1].attention
    x = torch.randn(2, 12, 32, dtype=torch.float64)
    with torch.no_grad():
        got, want = module(x, backend="eager"), old(x, backend="eager")
    assert torch.allclose(got * (1 - old.lam_init), want)


def test_shared_keys_are_those_of_both_branches():
    _, module = attention("shared keys")
    old = build_kind(BASE, "diff", 0).double().blocks[1].attention
    H, D = module.k_shape[0], module.k_shape[-1]
    both = module.k_proj.weight.view(H, 1, D, -1).expand(H, 2, D, -1)
    x = torch.randn(2, 12, 32, dtype=torch.float64)
    with torch.no_grad():
        old.k_proj.weight.copy_(both.reshape(2 * H * D, -1))
        got, want = module(x, backend="eager"), old(x, backend="eager")
    assert torch.allclose(got, want)
    assert module.new_cache(2, 8) is not None


def test_an_unknown_variant_is_refused():
    with pytest.raises(ValueError, match="variant: got 'none', expected"):
        build_variant(BASE, "none", 0)
