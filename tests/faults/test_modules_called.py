"""Modules are called, so that adapters, hooks and quantisation take part."""

import copy

import pytest
import torch
from tiny_models import KINDS, Adapter, adapted, make, tokens
from torch import nn
from torch.nn.utils.parametrize import register_parametrization

from minidiff import generate, save, save_diffllama
from minidiff.convert.model import to_diffllama

TIED = [True, False]
pytestmark = pytest.mark.filterwarnings("ignore:.*quantiz", "ignore:.*dtype")


def linears(model):
    return {
        name: part
        for name, part in model.named_modules()
        if isinstance(part, nn.Linear)
    }


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tied", TIED)
def test_adapters_are_called(kind, tied):
    model = make(kind, tie_embeddings=tied)
    want = model(tokens()), generate(model, tokens(), **GREEDY)
    wrapped, adapters = adapted(model)
    torch.testing.assert_close(wrapped(tokens()), want[0])
    assert all(a.calls == 1 for a in adapters)
    assert torch.equal(generate(wrapped, tokens(), **GREEDY), want[1])
    wrapped(tokens(), return_maps=True)
    for a in adapters:
        a.shift = 0.5
    assert (wrapped(tokens()) - want[0]).abs().max() > 0.1
    wrapped.loss(tokens(), tokens()).backward()
    assert all(a.up.weight.grad.any() for a in adapters)


GREEDY = {"max_new_tokens": 4, "temperature": 0}


@pytest.mark.parametrize("kind", KINDS)
def test_each_adapter_alone_changes_the_logits(kind):
    """Also one that keeps ``weight`` and only adds to the output."""

    class Plus(nn.Linear):
        def forward(self, x):
            return super().forward(x) + 1

    model = make(kind, tie_embeddings=False)
    want = model(tokens())
    for name, part in linears(model).items():
        changed = copy.deepcopy(model)
        changed.get_submodule(name).__class__ = Plus
        moved = (changed(tokens()) - want).abs().max()
        assert moved > 1e-4 or "k_proj" in name, name
        assert isinstance(part, nn.Linear)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("autocast", [False, True])
def test_hooks_of_every_linear_are_called_once(kind, dtype, autocast):
    model = make(kind, tie_embeddings=False).to(dtype)
    calls = dict.fromkeys(linears(model), 0)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        want = model(tokens())
    for name, part in linears(model).items():

        def count(*_, name=name):
            calls[name] += 1

        part.register_forward_hook(count)
        part.register_forward_pre_hook(count)
        part.register_full_backward_hook(count)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        got = model(tokens())
    torch.testing.assert_close(got, want, atol=0.02, rtol=0.02)
    got.float().sum().backward()
    assert set(calls.values()) == {3}


def test_hooks_of_all_modules_are_called():
    model, seen = make("diff_v2", tie_embeddings=False), set()
    hook = nn.modules.module.register_module_forward_hook(
        lambda module, *_: seen.add(module)
    )
    try:
        model(tokens())
    finally:
        hook.remove()
    assert set(linears(model).values()) <= seen


def test_a_hook_that_changes_lambda_changes_the_maps():
    model = make("diff_v2")
    proj = model.blocks[0].attention.lambda_proj
    proj.register_forward_hook(lambda module, inputs, out: out * 0 - 100)
    _, maps = model(tokens(), return_maps=True)
    assert torch.equal(maps[0].A, maps[0].A1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tied", TIED)
@torch.no_grad()
def test_a_quantised_model(kind, tied):
    model = make(kind, tie_embeddings=tied).eval()
    quantised = torch.ao.quantization.quantize_dynamic(
        model, {nn.Linear}, dtype=torch.qint8
    )
    x, want = tokens(length=9), model(tokens(length=9))
    got = quantised(x)
    assert (got - want).abs().max() < 0.2 * want.abs().max()
    cache = quantised.new_cache(2)
    assert torch.equal(quantised(x, cache), got)
    assert quantised(x[:, :1], cache).isfinite().all()
    assert generate(quantised, x, **GREEDY).shape == (2, 13)


class Shifted(nn.Module):
    """An embedding with an adapter."""

    def __init__(self, base):
        super().__init__()
        self.base = base
        self.more = nn.Embedding(base.num_embeddings, base.embedding_dim)

    def forward(self, ids):
        return self.base(ids) + self.more(ids)


def test_a_tied_head_is_what_the_embedding_gives():
    model, merged = make(), make()
    model.embedding = Shifted(model.embedding)
    with torch.no_grad():
        merged.embedding.weight += model.embedding.more.weight
    torch.testing.assert_close(model(tokens()), merged(tokens()))
    assert torch.equal(
        generate(model, tokens(), **GREEDY),
        generate(merged, tokens(), **GREEDY),
    )


def test_a_parametrised_linear():
    class Twice(nn.Module):
        def forward(self, x):
            return 2 * x

    model, want = make("diff_v2"), make("diff_v2")
    for m, change in ((model, True), (want, False)):
        proj = m.blocks[0].attention.lambda_proj
        if change:
            register_parametrization(proj, "weight", Twice())
        else:
            proj.weight.data *= 2
    torch.testing.assert_close(model(tokens()), want(tokens()))


@pytest.mark.parametrize("kind", KINDS)
def test_a_cache_has_the_dtype_of_what_the_adapter_gives(kind):
    class Narrow(nn.Module):
        def __init__(self, base):
            super().__init__()
            self.base = base

        def forward(self, x):
            return self.base(x).bfloat16()

    module, x = make(kind).blocks[0].attention, torch.randn(2, 3, 32)
    for name in ("q_proj", "k_proj", "v_proj"):
        setattr(module, name, Narrow(getattr(module, name)))
    module.out_proj.to(torch.bfloat16)
    with torch.no_grad():
        cache = module.new_cache(2, 8)
        parts = [module(p, cache=cache) for p in x.split([2, 1], 1)]
    torch.testing.assert_close(torch.cat(parts, 1), module(x))


def with_adapter():
    return adapted(make())[0], "blocks.0.attention.q_proj"


def with_subclass():
    class Plus(nn.Linear):
        def forward(self, x):
            return super().forward(x) + 1

    model = make()
    model.blocks[1].ffn.up_proj.__class__ = Plus
    return model, "blocks.1.ffn.up_proj"


def with_bias():
    model = make()
    model.blocks[0].attention.q_proj = nn.Linear(32, 32)
    return model, "blocks.0.attention.q_proj"


def quantised():
    model = torch.ao.quantization.quantize_dynamic(make(), {nn.Linear})
    return model, "blocks.0.attention.q_proj"


CHANGED = [with_adapter, with_subclass, with_bias, quantised]


@pytest.mark.parametrize("change", CHANGED)
def test_what_a_file_cannot_hold_is_refused_by_name(change, tmp_path):
    model, name = change()
    with pytest.raises(ValueError, match=name):
        save(model, tmp_path / "m.safetensors")
    with pytest.raises(ValueError, match=name):
        to_diffllama(model)
    with pytest.raises(ValueError, match=name):
        save_diffllama(model, tmp_path / "hf")
    assert not list(tmp_path.iterdir())


def test_adapters_count():
    """The helper of these tests wraps every Linear once."""
    model, adapters = adapted(make(tie_embeddings=False))
    assert len(adapters) == 2 * 7 + 1
    assert isinstance(model.head, Adapter)
