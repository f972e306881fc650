"""Nothing is kept that belongs to a caller's mode, and nothing is left."""

import copy

import pytest
import torch
from tiny_models import KINDS, make, qkv, tokens
from torch import nn
from torch._subclasses import FakeTensorMode

from minidiff import DecoderLM, diff_attention
from minidiff.ops.flex import _causal_mask


class Flex(nn.Module):
    def forward(self, q, k, v):
        return diff_attention(q, k, v, 0.5, backend="flex")


def in_export(*given):
    torch.export.export(Flex(), given)


def in_fake_mode(*given):
    with FakeTensorMode() as mode:
        Flex()(*(mode.from_tensor(x) for x in given))


@pytest.mark.parametrize("mode", [in_export, in_fake_mode])
def test_a_mask_made_in_a_mode_is_not_kept(mode):
    _causal_mask.cache_clear()
    given = qkv(T=9)
    mode(*given)
    assert _causal_mask.cache_info().currsize == 0
    y = Flex()(*given)
    assert type(y) is torch.Tensor
    want = diff_attention(*given, 0.5, backend="eager")
    torch.testing.assert_close(y, want, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("mode", [in_export, in_fake_mode])
def test_a_kept_mask_does_not_enter_a_mode(mode):
    given = qkv(T=9)
    Flex()(*given)
    mode(*given)


def on_meta(**options):
    with torch.device("meta"):
        return make(**options)


@pytest.mark.parametrize("way", ["alone", "inside", "assigned", "to"])
def test_built_on_meta_and_loaded(way):
    want, model = make(), on_meta()
    state = want.state_dict()
    if way == "alone":
        model.to_empty(device="cpu").load_state_dict(state)
    elif way == "inside":  # of a larger module
        whole = nn.ModuleDict({"lm": model}).to_empty(device="cpu")
        whole.load_state_dict({f"lm.{n}": x for n, x in state.items()})
    elif way == "assigned":
        model.load_state_dict(state, assign=True)
    else:
        model = make().to("meta").to_empty(device="cpu")
        model.load_state_dict(state)
    assert torch.equal(model.cos, want.cos)
    assert torch.equal(model.sin, want.sin)
    assert torch.equal(model(tokens()), want(tokens()))


def test_emptied_and_loaded(poisoned):
    want, model = make(), make().to_empty(device="cpu")
    assert model.embedding.weight.isnan().all()
    model.load_state_dict(want.state_dict())
    assert torch.equal(model(tokens()), want(tokens()))


def test_tables_keep_their_dtype(poisoned):
    want, model = make().bfloat16(), on_meta().bfloat16()
    model.to_empty(device="cpu").load_state_dict(want.state_dict())
    assert model.cos.dtype == torch.bfloat16
    assert torch.equal(model.cos, want.cos)
    assert torch.equal(model(tokens()), want(tokens()))


def test_no_other_buffer_is_left_out_of_a_state_dict():
    """A new one must be filled too where its memory is."""
    for kind in KINDS:
        model = make(kind)
        names = {name for name, _ in model.named_buffers()}
        assert names - model.state_dict().keys() == {"cos", "sin"}


def lengths(cache):
    return [part.length for part in cache]


class Stop(BaseException):
    """Such as Ctrl-C."""


def stopping(*_):
    raise Stop


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "at", ["blocks.1.attention.k_proj", "blocks.1.attention.out_proj", "norm"]
)
@torch.no_grad()
def test_a_call_that_stops_leaves_the_cache_as_it_was(kind, at):
    model, x = make(kind), tokens(length=8)
    want = model(x)
    cache = model.new_cache(2)
    model(x[:, :5], cache)
    hook = model.get_submodule(at).register_forward_hook(stopping)
    with pytest.raises(Stop):
        model(x[:, 5:], cache)
    hook.remove()
    assert lengths(cache) == [5, 5]
    again = model(x[:, 5:], cache)
    torch.testing.assert_close(again, want[:, 5:], atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_an_attention_that_refuses_has_not_appended():
    module, x = make().blocks[0].attention, torch.randn(2, 3, 32)
    cache = module.new_cache(2, 8)
    with pytest.raises(ValueError, match="key_lengths"):
        module(x, cache=cache, key_lengths=torch.tensor([9, 9]))
    with pytest.raises(ValueError, match="backend"):
        module(x, cache=cache, backend="fast")
    assert cache.length == 0


@torch.no_grad()
def test_caches_of_different_lengths_are_refused():
    model, x = make(), tokens()
    cache = model.new_cache(2)
    model(x, cache)
    cache[1].length -= 2
    with pytest.raises(ValueError, match=r"cache: got layers .*\[6, 4\]"):
        model(x[:, :1], cache)


@pytest.mark.parametrize("length", [-1, 7])
@torch.no_grad()
def test_a_cache_set_to_tokens_that_it_does_not_have_is_refused(length):
    """Memory that nothing was written to would be read."""
    model, x = make(), tokens()
    cache = model.new_cache(2)
    model(x, cache)
    for part in cache:
        part.length = length
    match = f"length: got {length}, expected 0 to 6"
    with pytest.raises(ValueError, match=match):
        model(x[:, :1], cache)
    k, v = torch.ones(2, 2, 2, 1, 8), torch.ones(2, 2, 1, 16)
    with pytest.raises(ValueError, match=match):
        cache[0].append(k, v)


@torch.no_grad()
def test_another_batch_than_the_cache_has_is_named():
    model, x = make(), tokens()
    cache = model.new_cache(2)
    with pytest.raises(ValueError, match="tokens: got a batch of 1, expect"):
        model(x[:1], cache)
    with pytest.raises(ValueError, match="x: got a batch of 1, expected 2"):
        model.blocks[0].attention(torch.ones(1, 3, 32), cache=cache[0])


@pytest.mark.parametrize("precision", [None, "int8", "fp8"])
def test_a_cache_made_in_inference_mode_is_used_outside(precision):
    model, x = make(), tokens()
    with torch.inference_mode():
        cache = model.new_cache(2, budget=3, precision=precision)
        model(x, cache)
        for part in cache:
            part.evict(torch.ones(2, 2, 6))
    with torch.no_grad():
        assert model(x[:, :1], cache).isfinite().all()


def test_a_copy_fills_its_own_tables():
    model = copy.deepcopy(on_meta()).to_empty(device="cpu")
    assert isinstance(model, DecoderLM)
    assert torch.equal(model.cos, make().cos)
