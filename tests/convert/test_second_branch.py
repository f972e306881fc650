"""A second branch changes no output, and training can take it apart."""

from math import prod

import pytest
import torch
from test_llama import IDS, make

from minidiff.convert.second_branch import add_second_branch
from minidiff.nn.attention import MultiheadDiffAttentionV2
from minidiff.nn.generate import generate


@pytest.mark.parametrize("backend", ["eager", "sdpa"])
@pytest.mark.parametrize("num_kv_heads", [None, 2, 1])
def test_the_outputs_are_the_same(num_kv_heads, backend):
    plain = make(num_kv_heads=num_kv_heads)
    both = add_second_branch(plain)
    with torch.no_grad():
        want, maps = plain(IDS, return_maps=True)
        _, pairs = both(IDS, return_maps=True)
        assert want.std() > 0.5
        torch.testing.assert_close(
            both(IDS, backend=backend), want, rtol=0, atol=1e-12
        )
    for A, pair in zip(maps, pairs, strict=True):
        torch.testing.assert_close(pair.A, A / 2)
        torch.testing.assert_close(pair.A1, pair.A2)


def test_only_the_queries_grow():
    plain = make(num_kv_heads=2)
    both = add_second_branch(plain)
    E, H, L = 32, 4, 2
    more = both.num_parameters() - plain.num_parameters()
    assert more == L * (E * E + E * H)
    for old, new in zip(plain.blocks, both.blocks, strict=True):
        old, new = old.attention, new.attention
        assert prod(new.k_shape) == prod(old.k_shape)
        assert new.v_shape == old.v_shape


def test_generation_with_a_cache_is_the_same():
    plain = make()
    text = generate(plain, IDS[:, :4], max_new_tokens=8, temperature=0)
    both = add_second_branch(plain)
    again = generate(both, IDS[:, :4], max_new_tokens=8, temperature=0)
    assert torch.equal(text, again)


def test_the_branches_are_taken_apart():
    both = add_second_branch(make())
    both.loss(IDS, IDS.roll(-1, 1)).backward()
    for block in both.blocks:
        module = block.attention
        first, second = module.q_proj.weight.grad.unflatten(
            0, module.q_shape
        ).unbind(1)
        assert first.abs().max() > 1e-6
        torch.testing.assert_close(second, -first / 2)
        assert module.lambda_proj.weight.grad.abs().max() > 1e-6


def test_nothing_is_shared_with_the_plain_model():
    plain = make()
    before = plain(IDS)
    both = add_second_branch(plain)
    with torch.no_grad():
        for p in both.parameters():
            p.zero_()
    assert torch.equal(plain(IDS), before)


def test_dtype_mode_and_a_state_dict(tmp_path):
    plain = make().bfloat16().eval()
    both = add_second_branch(plain)
    assert {p.dtype for p in both.parameters()} == {torch.bfloat16}
    assert not any(module.training for module in both.modules())
    again = add_second_branch(make().bfloat16())
    again.load_state_dict(both.state_dict())
    assert torch.equal(again(IDS), both(IDS))


def test_what_has_no_plain_heads_is_refused():
    with pytest.raises(ValueError, match="attention: got 'diff', expected"):
        add_second_branch(make(attention="diff"))
    with pytest.raises(ValueError, match="head_norm: got True"):
        add_second_branch(make(head_norm=True))
    with pytest.raises(TypeError, match="model: got Linear"):
        add_second_branch(torch.nn.Linear(2, 2))
    with pytest.raises(ValueError, match=r"AttentionV2 as blocks\.0"):
        add_second_branch(add_second_branch(make()))


def test_a_width_of_its_own_for_v2():
    module = MultiheadDiffAttentionV2(32, 4, head_dim=8)
    assert module.q_proj.weight.shape == (64, 32)
    assert module.out_proj.weight.shape == (32, 32)
    with pytest.raises(ValueError, match="head_dim: got 0"):
        MultiheadDiffAttentionV2(32, 4, head_dim=0)
