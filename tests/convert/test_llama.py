"""Hugging Face's Llama and our plain model compute the same function."""

import importlib.util
import json

import pytest
import torch
from conftest import need

from minidiff.convert.llama import (
    from_llama,
    load_llama,
    save_llama,
    to_llama,
)
from minidiff.nn.config import ModelConfig
from minidiff.nn.model import DecoderLM

V = 19


@pytest.fixture(scope="module")
def hf():
    """The module with Llama's classes."""
    need(
        importlib.util.find_spec("transformers"),
        'transformers is missing: pip install -e ".[hf]"',
    )
    from transformers.models.llama import modeling_llama
    from transformers.utils import logging

    logging.disable_progress_bar()
    return modeling_llama


def scatter(module):
    torch.manual_seed(7)
    with torch.no_grad():
        for p in module.parameters():
            p.normal_(std=0.3)
            if p.ndim == 1:
                p.add_(0.2)
    return module


def make(**changes):
    sizes = {"vocab_size": V, "embed_dim": 32, "num_layers": 2}
    sizes |= {"num_heads": 4, "max_length": 24, "attention": "softmax"}
    return scatter(DecoderLM(ModelConfig(**(sizes | changes))).double())


IDS = torch.randint(V, (2, 24), generator=torch.Generator().manual_seed(1))


def same_logits(theirs, ours):
    with torch.no_grad():
        got = ours(IDS)
        assert got.std() > 0.5  # so that 1e-5 says something
        torch.testing.assert_close(theirs(IDS).logits, got, rtol=0, atol=1e-5)


MODELS = {
    "tied": {},
    "untied": {"tie_embeddings": False},
    "groups": {"num_kv_heads": 2},
    "own sizes": {"ffn_dim": 20, "norm_eps": 1e-3, "rope_base": 500.0},
}


@pytest.mark.parametrize("changes", MODELS.values(), ids=MODELS)
def test_our_plain_model_as_a_llama(hf, tmp_path, changes):
    model = make(**changes)
    save_llama(model, tmp_path)
    theirs, report = hf.LlamaForCausalLM.from_pretrained(
        tmp_path, output_loading_info=True
    )
    assert not any(report.values()), report
    same_logits(theirs, model)
    again = load_llama(tmp_path)
    assert again.config == ModelConfig.from_dict(
        model.config.to_dict()
        | {
            "ffn_dim": model.blocks[0].ffn.gate_proj.out_features,
            "num_kv_heads": model.config.kv_heads,
        }
    )
    for name, tensor in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name


@pytest.mark.parametrize("tied", [True, False])
def test_a_llama_as_our_plain_model(hf, tmp_path, tied):
    config = hf.LlamaConfig(
        vocab_size=V,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=40,
        max_position_embeddings=24,
        tie_word_embeddings=tied,
    )
    theirs = scatter(hf.LlamaForCausalLM(config).double())
    same_logits(theirs, from_llama(config.to_dict(), theirs.state_dict()))
    theirs.save_pretrained(tmp_path)
    same_logits(theirs, load_llama(tmp_path))


def test_a_llama_s_own_defaults(hf):
    """A field that a config.json leaves out has Llama's default."""
    from minidiff.convert.llama_config import LLAMA_DEFAULTS

    defaults = hf.LlamaConfig().to_dict()
    assert {n: defaults[n] for n in LLAMA_DEFAULTS} == LLAMA_DEFAULTS


CHANGED = [
    ("attention_bias: got True", {"attention_bias": True}),
    ("rope_parameters: got", {"rope_parameters": {"rope_type": "llama3"}}),
    ("rope_scaling: got", {"rope_scaling": {"factor": 2.0, "type": "x"}}),
    ("head_dim: got 4", {"head_dim": 4}),
    ("model_type: got 'mistral'", {"model_type": "mistral"}),
    ("sliding_window: got 8", {"sliding_window": 8}),
    ("num_key_value_heads: got 3", {"num_key_value_heads": 3}),
    ("tensor model.layers.2.* is missing", {"num_hidden_layers": 3}),
]


@pytest.mark.parametrize(("message", "change"), CHANGED)
def test_what_a_llama_has_and_ours_has_not_is_refused(
    tmp_path, message, change
):
    save_llama(make(), tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ValueError) as error:
        load_llama(tmp_path)
    assert message in str(error.value)
    assert str(tmp_path) in str(error.value)


@pytest.mark.parametrize(
    "name",
    ["quantization_config", "rope_scaling", "rope_parameters", "head_dim",
     "sliding_window", "tie_word_embeddings", "rms_norm_eps"],
)  # fmt: skip
def test_a_large_value_of_theirs_is_not_printed_whole(tmp_path, name):
    save_llama(make(), tmp_path)
    path = tmp_path / "config.json"
    large = {f"layers.{i}": {"bits": 4} for i in range(3000)}
    path.write_text(json.dumps(json.loads(path.read_text()) | {name: large}))
    with pytest.raises((ValueError, TypeError), match=name) as error:
        load_llama(tmp_path)
    assert len(str(error.value).replace(str(tmp_path), "")) < 300


def test_only_plain_models_become_llamas():
    with pytest.raises(ValueError, match="attention: got 'diff'"):
        to_llama(make(attention="diff"))
    with pytest.raises(ValueError, match="head_norm: got True"):
        to_llama(make(head_norm=True))
    with pytest.raises(TypeError, match="model: got Linear"):
        to_llama(torch.nn.Linear(2, 2))
    mixed = make()
    mixed.norm.float()
    with pytest.raises(ValueError, match=r"float32 and torch\.float64"):
        to_llama(mixed)
