"""The family's layers, each against the map that it says it has."""

import sys

import pytest
import torch
from committed import ROOT

from minidiff import ModelConfig
from minidiff.course.family import LAYERS, cog, dint, grouped, one_head
from minidiff.nn.kinds import build_kind
from minidiff.ops.sdpa import softmax_attention

sys.path.insert(0, str(ROOT / "book" / "recipes"))

from family import FAMILY, build_family

BASE = ModelConfig(
    vocab_size=32, embed_dim=64, num_layers=2, num_heads=8, max_length=16
)
IDS = torch.arange(24).view(2, 12)


def random(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def causal(q, k):
    logits = q @ k.mT / q.shape[-1] ** 0.5
    seen = torch.ones_like(logits).tril().bool()
    return logits.masked_fill(~seen, -torch.inf).softmax(-1)


def test_grouped_is_a_signal_map_less_the_noise_map_of_its_group():
    q, k, v = random(1, 2, 4, 5, 4), random(1, 2, 2, 5, 4), random(1, 2, 5, 8)
    out = grouped(q, k, v, 0.6)
    for head in range(6):
        g, i = divmod(head, 3)
        A = causal(q[0, g, i], k[0, g, 0])
        A = A - 0.6 * causal(q[0, g, 3], k[0, g, 1])
        torch.testing.assert_close(out[0, head], A @ v[0, g])


def test_dint_has_rows_of_sum_1_and_sees_no_later_query():
    q, k, v = random(1, 2, 2, 5, 4), random(1, 2, 2, 5, 4), random(1, 2, 5, 8)
    A1, A2 = causal(q, k).unbind(2)
    G = torch.stack([A1[:, :, : t + 1].mean(2) for t in range(5)], 2)
    A = A1 - 0.6 * A2 + 0.6 * G
    torch.testing.assert_close(A.sum(-1), torch.ones(1, 2, 5).double())
    torch.testing.assert_close(dint(q, k, v, 0.6), A @ v)


@pytest.mark.parametrize("S", [1, 2, 3])
def test_integral_is_the_mean_of_the_logits(S):
    q, k, v = random(1, 2, S, 5, 4), random(1, 2, S, 5, 4), random(1, 2, 5, 8)
    logits = (q @ k.mT / 4**0.5).mean(2)
    seen = torch.ones(5, 5).tril().bool()
    A = logits.masked_fill(~seen, -torch.inf).softmax(-1)
    out = softmax_attention(one_head(q), one_head(k), v)
    torch.testing.assert_close(out, A @ v)


def test_cog_takes_the_signs_of_the_logits():
    q, k, v = random(1, 2, 5, 4), random(1, 2, 5, 4), random(1, 2, 5, 4)
    out = cog(q, k, v)
    for t in range(5):
        p = (k[0, 0, : t + 1] @ q[0, 0, t]) / 2
        w = p.abs().softmax(0) * p.sign()
        torch.testing.assert_close(out[0, 0, t], w @ v[0, 0, : t + 1])


@pytest.mark.parametrize("kind", FAMILY)
def test_a_model_of_each_kind(kind):
    diff = build_kind(BASE, "diff", 0)
    model = build_family(BASE, kind, 0)
    assert torch.equal(model.embedding.weight, diff.embedding.weight)
    ratio = model.num_parameters() / diff.num_parameters()
    assert abs(ratio - 1) < 0.01
    model.double()
    with torch.no_grad():
        want, maps = model(IDS, return_maps=True, backend="eager")
        torch.testing.assert_close(model(IDS, backend="auto"), want)
        changed = IDS.clone()
        changed[:, 7:] += 1
        torch.testing.assert_close(
            model(changed, backend="eager")[:, :7], want[:, :7]
        )
    module, x = model.blocks[0].attention, model.embedding(IDS)
    A = getattr(maps[0], "A", maps[0])
    rope = model.cos[:12], model.sin[:12]
    x = model.blocks[0].attention_norm(x)
    v = module.v_proj(x).unflatten(-1, module.v_shape).movedim(1, -2)
    heads = A @ v.repeat_interleave(A.shape[1] // v.shape[1], 1)
    if getattr(module, "norm_scale", None):
        size = (heads.square().mean(-1, keepdim=True) + 1e-5).sqrt()
        heads = heads / size * module.norm_scale * module.norm_weight
    want = module.out_proj(heads.transpose(1, 2).flatten(2))
    torch.testing.assert_close(module(x, rope=rope), want)


def test_what_the_layers_do_not_support_is_refused():
    with pytest.raises(ValueError, match="kind: got 'V3'"):
        build_family(BASE, "V3", 0)
    with pytest.raises(ValueError, match="ratio: got 4"):
        LAYERS["grouped"](64, 4, depth=0, ratio=4)
    dint_layer = LAYERS["DINT"](64, 4, depth=0)
    x, cache = torch.randn(1, 3, 64), dint_layer.new_cache(1, 6)
    with torch.no_grad():
        dint_layer(x, cache=cache)
        with pytest.raises(ValueError, match="got 3 queries for 6 keys"):
            dint_layer(x, cache=cache)
    with pytest.raises(ValueError, match="key_lengths: not supported"):
        LAYERS["Cog"](64, 4)(x, key_lengths=torch.tensor([2]))
