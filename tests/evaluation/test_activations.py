import pytest
import torch
from known_models import KINDS, small

from minidiff.evaluation.activations import largest_activations
from minidiff.nn.layers import apply_rope


def logits_of(model, tokens):
    """Absolute logits of the first layer that a query sees, by hand."""
    block = model.blocks[0]
    x = block.attention_norm(model.embedding(tokens))
    T = tokens.shape[1]
    q, k = (
        apply_rope(
            proj(x).unflatten(-1, shape).movedim(1, -2),
            model.cos[:T],
            model.sin[:T],
        )
        for proj, shape in (
            (block.attention.q_proj, block.attention.q_shape),
            (block.attention.k_proj, block.attention.k_shape),
        )
    )
    logits = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
    return logits[..., torch.ones(T, T).tril().bool()].abs().flatten()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("batch_size", [1, 3])
def test_logits_are_those_of_both_maps_and_of_seen_keys(kind, batch_size):
    model = small(kind)
    tokens = torch.randint(0, 40, (3, 12))
    with torch.no_grad():
        expected = logits_of(model, tokens).sort(descending=True).values
    found = largest_activations(model, tokens, batch_size=batch_size)
    assert found["tokens"] == 36
    first, second = found["logits"]["layers"]
    for k, value in first["top"].items():
        assert value == pytest.approx(expected[int(k) - 1].item(), rel=1e-4)
    if batch_size == 3:
        median = expected.median().item()
        assert first["median"] == pytest.approx(median, rel=1e-4)
    top = max(first["top"]["1"], second["top"]["1"])
    assert found["logits"]["all"]["top"]["1"] == top


def test_a_planted_hidden_state_is_found_once_a_layer():
    model = small()
    with torch.no_grad():
        for block in model.blocks:
            block.attention.out_proj.weight.zero_()
            block.ffn.forward = torch.ones_like  # each layer adds 1
        model.embedding.weight.fill_(0.5)
        model.embedding.weight[7, 3] = 100
    tokens = torch.tensor([[1, 2, 7, 4]])
    found = largest_activations(model, tokens)["hidden"]
    for i, layer in enumerate(found["layers"]):
        assert layer["top"]["1"] == 101 + i
        assert layer["top"]["2"] == layer["median"] == 1.5 + i
    top = found["all"]["top"]
    assert (top["1"], top["2"], top["3"]) == (102, 101, 2.5)
    assert found["all"]["median"] == 2


def test_hooks_are_gone_afterwards():
    model = small()
    tokens = torch.ones(1, 4, dtype=torch.int64)
    largest_activations(model, tokens)
    assert not any(block._forward_hooks for block in model.blocks)
