"""The solution of 7.5, which later chapters train, is DecoderLM's equal."""

import pytest
import torch

from minidiff import DecoderLM, ModelConfig
from minidiff.check.ex07.transformer import Transformer

SMALL = {"embed_dim": 32, "num_layers": 3, "num_heads": 4}


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"attention": "softmax"},
        {"tie_embeddings": False, "ffn_dim": 24},
        {"rope_base": 50.0, "norm_eps": 0.1, "vocab_size": 11},
    ],
)
def test_its_weights_logits_and_gradients(options):
    config = ModelConfig(**SMALL, **options)
    ours, theirs = Transformer(config), DecoderLM(config)
    with torch.no_grad():
        for p in ours.parameters():
            p.add_(0.2 * torch.randn_like(p))
    theirs.load_state_dict(ours.state_dict())
    tokens = torch.randint(config.vocab_size, (2, 40))
    assert torch.allclose(ours(tokens), theirs(tokens), atol=1e-4)
    for model in (ours, theirs):
        model(tokens).logsumexp(-1).mean().backward()
    other = dict(theirs.named_parameters())
    assert list(other) == [name for name, _ in ours.named_parameters()]
    for name, p in ours.named_parameters():
        assert torch.allclose(p.grad, other[name].grad, atol=1e-5), name
