from dataclasses import replace

import pytest
import torch

from minidiff import ModelConfig
from minidiff.nn.kinds import KINDS, build_kind, six_kinds

BASE = ModelConfig(
    vocab_size=31, embed_dim=32, num_layers=2, num_heads=4, max_length=12
)
TOKENS = torch.arange(24).view(2, 12) % 31


def test_parameters_are_matched():
    n = {k: build_kind(BASE, k, 0).num_parameters() for k in KINDS}
    D, layers = BASE.head_dim, BASE.num_layers
    assert n["wide"] == n["plain"]
    assert n["wide + norm"] == n["plain"] + 2 * D * layers
    for kind in ("first map", "sum", "diff"):
        assert n[kind] == n["plain"] + 6 * D * layers


def test_kinds_of_a_seed_share_what_they_can():
    plain = build_kind(BASE, "plain", 3).state_dict()
    for kind in KINDS:
        own = build_kind(BASE, kind, 3).state_dict()
        assert own.keys() >= plain.keys()
        for name, value in plain.items():
            assert torch.equal(own[name], value), (kind, name)
    other = build_kind(BASE, "plain", 4).state_dict()
    assert not torch.equal(
        plain["embedding.weight"], other["embedding.weight"]
    )


def test_kinds_compute_different_things():
    with torch.no_grad():
        outs = [build_kind(BASE, kind, 0)(TOKENS) for kind in KINDS]
    for i, a in enumerate(outs):
        for b in outs[:i]:
            assert not torch.allclose(a, b)


def test_first_map_ignores_the_second_branch_and_sum_adds_it():
    models = {k: build_kind(BASE, k, 0) for k in ("first map", "sum", "diff")}
    for kind, model in models.items():
        module = model.blocks[0].attention
        x = torch.randn(1, 5, 32)
        _, maps = module(x, return_maps=True)
        sign = {"first map": 0, "sum": -1, "diff": 1}[kind]
        expected = maps.A1 - sign * module.lam() * maps.A2
        assert torch.allclose(maps.A, expected)
        out = module(x)
        with torch.no_grad():  # branch 1 of each head's queries
            module.q_proj.weight.view(2, 2, 8, 32)[:, 1] += 1
        same = torch.equal(module(x), out)
        assert same == (kind == "first map")


def test_wide_with_norm_normalises_each_head():
    module = build_kind(BASE, "wide + norm", 0).blocks[0].attention
    seen = []
    module.out_proj.register_forward_pre_hook(lambda m, x: seen.append(x[0]))
    x = 100 * torch.randn(1, 6, 32)
    for backend in ("sdpa", "eager"):
        module(x, backend=backend)
        heads = seen[-1].unflatten(-1, (2, 16))
        assert torch.allclose(
            heads.square().mean(-1), torch.ones(1, 6, 2), atol=1e-3
        )
    assert torch.allclose(*seen, atol=1e-5)
    with torch.no_grad():
        module.norm_weight *= 2
    module(x)
    assert torch.allclose(seen[-1], 2 * seen[0], atol=1e-4)


def test_the_base_config_needs_no_particular_attention():
    kinds = six_kinds(replace(BASE, attention="softmax"))
    assert kinds == six_kinds(BASE)
    assert list(kinds) == list(KINDS)


def test_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="kind: got 'narrow', expected one"):
        build_kind(BASE, "narrow", 0)
