import json
from dataclasses import FrozenInstanceError, replace

import pytest
import torch

from minidiff import DecoderLM, ModelConfig
from minidiff.nn.config import KINDS, count_parameters
from minidiff.reference.lam import lambda_init

SMALL = ModelConfig(
    vocab_size=31, embed_dim=32, num_layers=3, num_heads=4, max_length=12
)


def make(kind, seed=0, **changes):
    torch.manual_seed(seed)
    return DecoderLM(replace(SMALL, attention=kind, **changes)).double()


def some_tokens(length=9, batch=2):
    generator = torch.Generator().manual_seed(3)
    return torch.randint(31, (batch, length), generator=generator)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"num_kv_heads": 2},
        {"tie_embeddings": False},
        {"ffn_dim": 20},
        {"embed_dim": 96, "num_heads": 12, "num_kv_heads": 6},
    ],
)
def test_count_parameters_counts_the_real_model(kind, changes):
    model = make(kind, **changes)
    assert model.num_parameters() == count_parameters(model.config)


@pytest.mark.parametrize("head_norm, per_width", [(True, 6), (False, 4)])
@pytest.mark.parametrize("kv", [None, 2])
def test_diff_has_6_D_more_a_layer_than_the_matched_plain(
    kv, head_norm, per_width
):
    plain = make("softmax", num_kv_heads=kv)
    diff = make("diff", num_kv_heads=kv, head_norm=head_norm)
    extra = diff.num_parameters() - plain.num_parameters()
    assert extra == 3 * per_width * SMALL.head_dim
    assert diff.num_parameters() == count_parameters(diff.config)


def test_v2_saves_half_of_w_o_and_adds_w_lambda():
    plain = make("softmax", num_kv_heads=2)
    v2 = make("diff_v2", num_kv_heads=2)
    E, H = SMALL.embed_dim, SMALL.num_heads // 2
    saved = plain.num_parameters() - v2.num_parameters()
    assert saved == 3 * (E * E // 2 - E * H)


@pytest.mark.parametrize(
    "size, embed_dim, layers, heads",
    [
        (0.834, 1536, 24, 8),
        (1.413, 2048, 24, 8),
        (2.77, 2560, 32, 10),
        (6.85, 4096, 32, 16),
        (13.10, 5120, 40, 20),
    ],
)
def test_sizes_of_the_paper(size, embed_dim, layers, heads):
    """Ye et al. 2025, Table 10, with one embedding; meta takes no memory."""
    config = ModelConfig(
        vocab_size=100288,
        embed_dim=embed_dim,
        num_layers=layers,
        num_heads=2 * heads,
        max_length=2048,
    )
    count = count_parameters(config)
    assert count / 1e9 == pytest.approx(size, rel=2e-3)
    with torch.device("meta"):
        assert DecoderLM(config).num_parameters() == count


@pytest.mark.parametrize("kind", KINDS)
def test_model_equals_its_blocks_written_out(kind):
    model = make(kind)
    tokens = some_tokens()
    rope = model.cos[:9], model.sin[:9]
    x = model.embedding.weight[tokens]
    for block in model.blocks:
        y = x + block.attention(block.attention_norm(x), rope=rope)
        x = y + block.ffn(block.ffn_norm(y))
    want = model.norm(x) @ model.embedding.weight.T
    torch.testing.assert_close(model(tokens), want, rtol=0, atol=1e-12)


def test_depth_counts_from_0_and_sets_lam_init():
    got = [block.attention.lam_init for block in make("diff").blocks]
    assert got == [lambda_init(0), lambda_init(1), lambda_init(2)]
    constant = make("diff", lam_init=0.5)
    assert {block.attention.lam_init for block in constant.blocks} == {0.5}


def test_matrices_start_small_and_lambda_vectors_as_they_were():
    torch.manual_seed(0)
    model = DecoderLM(
        ModelConfig(vocab_size=500, tie_embeddings=False, num_layers=1)
    )
    for name, p in model.named_parameters():
        if p.ndim == 2:
            assert p.std().item() == pytest.approx(0.02, rel=0.05), name
        elif "lambda" in name:
            assert 0.04 < p.std() < 0.2, name
        else:
            assert (p == 1).all(), name


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("steps", [[1] * 9, [4, 1, 3, 1]])
def test_cached_logits_equal_the_full_forward(kind, steps):
    model = make(kind, num_kv_heads=2)
    tokens = some_tokens()
    with torch.inference_mode():
        cache = model.new_cache(2)
        parts = [model(part, cache) for part in tokens.split(steps, 1)]
        full = model(tokens)
    torch.testing.assert_close(torch.cat(parts, 1), full, rtol=0, atol=1e-12)
    assert [part.length for part in cache] == [9, 9, 9]


@pytest.mark.parametrize("kind", KINDS)
def test_no_logit_sees_a_later_token(kind):
    model = make(kind)
    tokens = some_tokens()
    other = tokens.clone()
    other[:, 5] = (other[:, 5] + 1) % 31
    before, after = model(tokens), model(other)
    torch.testing.assert_close(before[:, :5], after[:, :5], rtol=0, atol=1e-13)
    assert (before - after)[:, 5].abs().max() > 1e-6


@pytest.mark.parametrize("kind", KINDS)
def test_order_matters(kind):
    """Without positions, swapping two past tokens would change nothing."""
    model = make(kind, num_layers=1)
    tokens = torch.tensor([[1, 2, 3, 4], [2, 1, 3, 4]])
    first, second = model(tokens)[:, -1]
    assert (first - second).abs().max() > 1e-8


@pytest.mark.parametrize("kind", KINDS)
def test_return_maps_gives_those_of_each_layer(kind):
    model = make(kind)
    tokens = some_tokens()
    logits, maps = model(tokens, return_maps=True)
    assert torch.equal(logits, model(tokens))
    assert len(maps) == 3
    for layer in maps:
        A = layer if kind == "softmax" else layer.A
        assert A.shape == (2, model.config.heads, 9, 9)


@pytest.mark.parametrize("kind", KINDS)
def test_loss_is_the_mean_over_targets_that_count(kind):
    model = make(kind)
    tokens = some_tokens()
    targets = tokens.roll(-1, 1)
    targets[:, -1] = -100
    targets[0, 2] = -100
    logs = model(tokens).log_softmax(-1)
    terms = [
        -logs[b, t, targets[b, t]]
        for b in range(2)
        for t in range(9)
        if targets[b, t] != -100
    ]
    loss = model.loss(tokens, targets)
    torch.testing.assert_close(loss, torch.stack(terms).mean())
    loss.backward()
    for name, p in model.named_parameters():
        assert p.grad.isfinite().all(), name
        assert p.grad.abs().max() > 0, name


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("how", ["autocast", "weights"])
def test_bfloat16_trains(kind, how):
    model = make(kind).float()
    tokens = some_tokens()
    want = model.loss(tokens, tokens)
    if how == "weights":
        loss = model.bfloat16().loss(tokens, tokens)
    else:
        with torch.autocast("cpu", torch.bfloat16):
            loss = model.loss(tokens, tokens)
    assert loss.dtype == torch.float32
    assert abs(loss - want) < 0.05
    loss.backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_a_few_steps_learn_one_batch(kind):
    model = make(kind).float()
    tokens = some_tokens()
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(30):
        optimiser.zero_grad()
        loss = model.loss(tokens[:, :-1], tokens[:, 1:])
        loss.backward()
        optimiser.step()
    assert loss < 1.0  # it starts near ln 31 = 3.4


def test_a_tied_embedding_is_stored_once():
    names = list(make("diff").state_dict())
    assert sum("embedding" in n or "head." in n for n in names) == 1
    assert not {"cos", "sin"} & set(names), "tables follow from the config"
    assert "head.weight" in make("diff", tie_embeddings=False).state_dict()


def test_bad_tokens_are_refused_by_name():
    model = make("diff")
    good = some_tokens()
    for error, message, tokens in [
        (TypeError, "tokens: got list", [[1]]),
        (TypeError, "tokens: got dtype torch.float64", good.double()),
        (ValueError, r"tokens: got shape \(9,\)", good[0]),
        (ValueError, r"tokens: got shape \(2, 0\)", good[:, :0]),
        (ValueError, "tokens: got ids from 31 to 31.*0 to 30", good * 0 + 31),
        (ValueError, "tokens: got ids from -1", good * 0 - 1),
        (ValueError, "13 tokens.*max_length = 12", some_tokens(13)),
    ]:
        with pytest.raises(error, match=message):
            model(tokens)
    with torch.no_grad():
        cache = model.new_cache(2)
        model(good, cache)
        with pytest.raises(ValueError, match="sequence of 18 tokens"):
            model(good, cache)
        with pytest.raises(ValueError, match="cache: got 2 parts"):
            model(good, cache[:2])


def test_bad_targets_are_refused_by_name():
    model = make("diff")
    good = some_tokens()
    for error, message, targets in [
        (ValueError, r"targets: got shape \(2, 8\)", good[:, 1:]),
        (TypeError, "targets: got dtype torch.int32", good.int()),
        (ValueError, "targets: every one is -100", good * 0 - 100),
        (ValueError, "targets: got ids from 40 to 40", good * 0 + 40),
    ]:
        with pytest.raises(error, match=message):
            model.loss(good, targets)


def test_config_is_frozen_and_keyword_only():
    with pytest.raises(FrozenInstanceError):
        SMALL.embed_dim = 64
    with pytest.raises(TypeError):
        ModelConfig(31)


def test_config_survives_json_and_refuses_unknown_keys():
    values = json.loads(json.dumps(SMALL.to_dict()))
    assert ModelConfig.from_dict(values) == SMALL
    with pytest.raises(ValueError, match="unknown depth, width"):
        ModelConfig.from_dict(values | {"width": 3, "depth": 1})


def test_a_matched_pair_differs_in_one_word():
    plain, diff, v2 = (
        replace(SMALL, attention=kind, num_heads=8, num_kv_heads=4)
        for kind in KINDS
    )
    assert plain.head_dim == diff.head_dim == v2.head_dim == 4
    assert (plain.heads, diff.heads, v2.heads) == (8, 4, 4)
    assert (plain.kv_heads, diff.kv_heads, v2.kv_heads) == (4, 2, 4)


@pytest.mark.parametrize(
    "error, message, changes",
    [
        (ValueError, "vocab_size: got 0", {"vocab_size": 0}),
        (TypeError, "num_layers: got float", {"num_layers": 2.0}),
        (TypeError, "ffn_dim: got str", {"ffn_dim": "8"}),
        (
            ValueError,
            "embed_dim, num_heads: got 36 and [0-9]+, .*of 2 x num_heads",
            {"embed_dim": 36},
        ),
        (ValueError, "num_heads: got 1, .*even", {"num_heads": 1}),
        (ValueError, "num_kv_heads: got 1, .*even", {"num_kv_heads": 1}),
        (
            ValueError,
            "num_kv_heads: got 4, .*divisor of 2",
            {"num_kv_heads": 4, "attention": "diff_v2"},
        ),
        (ValueError, "attention: got 'linear'", {"attention": "linear"}),
        (ValueError, "max_length: got -1", {"max_length": -1}),
        (ValueError, "rope_base: got 0", {"rope_base": 0}),
        (TypeError, "norm_eps: got str", {"norm_eps": "small"}),
        (TypeError, "tie_embeddings: got 1", {"tie_embeddings": 1}),
        (
            ValueError,
            "head_norm: got True with attention='diff_v2'",
            {"head_norm": True, "attention": "diff_v2"},
        ),
        (TypeError, "head_norm: got 1", {"head_norm": 1}),
        (ValueError, "second_map: got 'minus'", {"second_map": "minus"}),
        (
            ValueError,
            "second_map: got 'add' with attention='softmax'",
            {"second_map": "add", "attention": "softmax"},
        ),
        (ValueError, "lam_init: got 1.0", {"lam_init": 1.0}),
        (
            ValueError,
            "lam_init: got 0.5 with attention='diff_v2'",
            {"lam_init": 0.5, "attention": "diff_v2"},
        ),
    ],
)
def test_bad_configs_are_refused_by_name(error, message, changes):
    with pytest.raises(error, match=message):
        replace(SMALL, **changes)
