"""Conversion of a model's weights and config to DiffLlama's and back."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from minidiff.convert.attention import (
    attention_from_diffllama,
    attention_to_diffllama,
)
from minidiff.convert.config import config_from_diffllama, config_to_diffllama
from minidiff.files.tensors import (
    FLOATS,
    check_layers,
    check_tensors,
    with_prefix,
)
from minidiff.nn.config import ModelConfig
from minidiff.nn.memory import check_memory
from minidiff.nn.model import DecoderLM
from minidiff.nn.wrappers import check_unchanged, named_weights, unwrapped

# Tensor names inside one layer, ours to DiffLlama's. The attention's tensors
# are converted in attention.py.
ATTENTION, SELF_ATTN = "attention.", "self_attn."
PLAIN = {
    "attention_norm.weight": "input_layernorm.weight",
    "ffn_norm.weight": "post_attention_layernorm.weight",
    "ffn.gate_proj.weight": "mlp.gate_proj.weight",
    "ffn.up_proj.weight": "mlp.up_proj.weight",
    "ffn.down_proj.weight": "mlp.down_proj.weight",
}


def to_diffllama(
    model: nn.Module,
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return a DiffLlamaConfig's fields and DiffLlamaForCausalLM's state.

    The state has copies in the model's dtype. If the embedding is tied, it is
    also ``lm_head.weight``, as in DiffLlama's ``state_dict``.

    Raises TypeError if model is not a DecoderLM, and ValueError naming what
    DiffLlama does not support: another attention than "diff", another
    second_map than "subtract", no head norm, a constant lam_init, weights
    of several dtypes, or a part that was replaced, such as an adapter.
    """
    check_unchanged(model)
    model = unwrapped(model)
    config = config_to_diffllama(model.config)
    dtypes = sorted({str(p.dtype) for p in model.parameters()})
    if len(dtypes) > 1:
        raise ValueError(
            f"model: got weights of {' and '.join(dtypes)}, expected one "
            "dtype, as a DiffLlama has"
        )
    return config, _state_out(model)


def from_diffllama(
    config: Mapping[str, Any], state: Mapping[str, Tensor]
) -> DecoderLM:
    """Build a model from a DiffLlamaConfig's fields and a state.

    Parameters
    ----------
    config : mapping
        ``DiffLlamaConfig.to_dict()``, or the contents of its config.json.
        Missing fields have DiffLlama's defaults.
    state : mapping
        ``DiffLlamaForCausalLM.state_dict()``, or the tensors of its file.

    The head norms' weights are ones. The model is on the CPU, in float32, or
    in float64 if a tensor of the state is.

    Raises ValueError or TypeError naming the field or the tensor, its value
    and what was expected.
    """
    ours = config_from_diffllama(config)
    state = dict(state)
    if ours.tie_embeddings:
        _tie(state)
    check_layers(
        "state", "model.layers.", state, ours.num_layers, "num_hidden_layers"
    )
    # Names and shapes are those of an exported model on the meta device.
    with torch.device("meta"):
        blank = DecoderLM(ours)
    check_tensors("state", "", state, _state_out(blank))
    dtype = torch.float32
    for name, tensor in state.items():
        if tensor.dtype not in FLOATS:
            raise TypeError(
                f"state: tensor {name} has dtype {tensor.dtype}, expected "
                "float16, bfloat16, float32 or float64"
            )
        dtype = torch.promote_types(dtype, tensor.dtype)
    check_memory(ours, copies=dtype.itemsize // 4)
    model = DecoderLM(ours).to(dtype)
    with torch.no_grad():
        parameters = dict(model.named_parameters())
        for name, tensor in _state_in(state, ours).items():
            parameters[name].copy_(tensor)
    return model


def _tie(state: dict[str, Tensor]) -> None:
    """Add lm_head.weight to a tied state, because files omit it."""
    embedding = state.get("model.embed_tokens.weight")
    if embedding is None:
        return  # reported as missing
    head = state.setdefault("lm_head.weight", embedding)
    if head.shape != embedding.shape or not torch.equal(head, embedding):
        raise ValueError(
            "state: lm_head.weight differs from model.embed_tokens.weight, "
            "expected the same numbers with tie_word_embeddings=True"
        )


def _state_out(model: DecoderLM) -> dict[str, Tensor]:
    """Return a model's weights under DiffLlamaForCausalLM's names."""
    own = {n: p.detach().clone() for n, p in named_weights(model).items()}
    sizes = model.config.heads, model.config.kv_heads
    state = {"model.embed_tokens.weight": own["embedding.weight"]}
    for i in range(model.config.num_layers):
        layer = with_prefix(own, f"blocks.{i}.")
        theirs = {new: layer[old] for old, new in PLAIN.items()}
        attention = attention_to_diffllama(
            with_prefix(layer, ATTENTION), *sizes
        )
        theirs |= {SELF_ATTN + n: t for n, t in attention.items()}
        state |= {f"model.layers.{i}.{n}": t for n, t in theirs.items()}
    state["model.norm.weight"] = own["norm.weight"]
    head = "head.weight" if "head.weight" in own else "embedding.weight"
    return state | {"lm_head.weight": own[head]}


def _state_in(
    state: dict[str, Tensor], config: ModelConfig
) -> dict[str, Tensor]:
    """Return DiffLlama's weights under our names, inverting _state_out."""
    sizes = config.heads, config.kv_heads
    own = {"embedding.weight": state["model.embed_tokens.weight"]}
    for i in range(config.num_layers):
        theirs = with_prefix(state, f"model.layers.{i}.")
        layer = {old: theirs[new] for old, new in PLAIN.items()}
        attention = attention_from_diffllama(
            with_prefix(theirs, SELF_ATTN), *sizes
        )
        layer |= {ATTENTION + n: t for n, t in attention.items()}
        own |= {f"blocks.{i}.{n}": t for n, t in layer.items()}
    own["norm.weight"] = state["model.norm.weight"]
    if not config.tie_embeddings:
        own["head.weight"] = state["lm_head.weight"]
    return own
