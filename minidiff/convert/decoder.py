"""Weights of a whole decoder under the names of the Llama family, and back.

The formats differ in their attention only. Its conversion is a function of
the tensors of one attention module and its two numbers of heads.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from minidiff.files.tensors import (
    FLOATS,
    check_layers,
    check_tensors,
    with_prefix,
)
from minidiff.nn.config import ModelConfig
from minidiff.nn.memory import check_memory
from minidiff.nn.model import DecoderLM, ordinary_model
from minidiff.nn.wrappers import named_weights

Convert = Callable[[Mapping[str, Tensor], int, int], dict[str, Tensor]]

# Tensor names inside one layer, ours to theirs.
ATTENTION, SELF_ATTN = "attention.", "self_attn."
PLAIN = {
    "attention_norm.weight": "input_layernorm.weight",
    "ffn_norm.weight": "post_attention_layernorm.weight",
    "ffn.gate_proj.weight": "mlp.gate_proj.weight",
    "ffn.up_proj.weight": "mlp.up_proj.weight",
    "ffn.down_proj.weight": "mlp.down_proj.weight",
}


def one_dtype(model: DecoderLM, what: str) -> None:
    """Raise ValueError if the model has weights of several dtypes."""
    dtypes = sorted({str(p.dtype) for p in model.parameters()})
    if len(dtypes) > 1:
        raise ValueError(
            f"model: got weights of {' and '.join(dtypes)}, expected one "
            f"dtype, as a {what} has"
        )


def state_out(model: DecoderLM, convert: Convert) -> dict[str, Tensor]:
    """Return copies of a model's weights under their names."""
    own = {n: p.detach().clone() for n, p in named_weights(model).items()}
    sizes = model.config.heads, model.config.kv_heads
    state = {"model.embed_tokens.weight": own["embedding.weight"]}
    for i in range(model.config.num_layers):
        layer = with_prefix(own, f"blocks.{i}.")
        theirs = {new: layer[old] for old, new in PLAIN.items()}
        attention = convert(with_prefix(layer, ATTENTION), *sizes)
        theirs |= {SELF_ATTN + n: t for n, t in attention.items()}
        state |= {f"model.layers.{i}.{n}": t for n, t in theirs.items()}
    state["model.norm.weight"] = own["norm.weight"]
    head = "head.weight" if "head.weight" in own else "embedding.weight"
    return state | {"lm_head.weight": own[head]}


def state_in(
    state: Mapping[str, Tensor], config: ModelConfig, convert: Convert
) -> dict[str, Tensor]:
    """Return their weights under our names, inverting :func:`state_out`."""
    sizes = config.heads, config.kv_heads
    own = {"embedding.weight": state["model.embed_tokens.weight"]}
    for i in range(config.num_layers):
        theirs = with_prefix(state, f"model.layers.{i}.")
        layer = {old: theirs[new] for old, new in PLAIN.items()}
        attention = convert(with_prefix(theirs, SELF_ATTN), *sizes)
        layer |= {ATTENTION + n: t for n, t in attention.items()}
        own |= {f"blocks.{i}.{n}": t for n, t in layer.items()}
    own["norm.weight"] = state["model.norm.weight"]
    if not config.tie_embeddings:
        own["head.weight"] = state["lm_head.weight"]
    return own


def build(
    config: ModelConfig,
    state: Mapping[str, Tensor],
    attention_out: Convert,
    attention_in: Convert,
) -> DecoderLM:
    """Build a model with our config and their weights.

    It is on the CPU, in float32, or in float64 if a tensor of the state is.
    Raises ValueError or TypeError naming the tensor, what it has and what was
    expected.
    """
    state = dict(state)
    if config.tie_embeddings:
        _tie(state)
    check_layers(
        "state", "model.layers.", state, config.num_layers, "num_hidden_layers"
    )
    # Names and shapes are those of an exported model on the meta device.
    with torch.device("meta"):
        blank = DecoderLM(config)
    check_tensors("state", "", state, state_out(blank, attention_out))
    dtype = torch.float32
    for name, tensor in state.items():
        if tensor.dtype not in FLOATS:
            raise TypeError(
                f"state: tensor {name} has dtype {tensor.dtype}, expected "
                "float16, bfloat16, float32 or float64"
            )
        dtype = torch.promote_types(dtype, tensor.dtype)
    check_memory(config, copies=dtype.itemsize // 4)
    model = ordinary_model(config).to(dtype)
    with torch.no_grad():
        parameters = dict(model.named_parameters())
        for name, tensor in state_in(state, config, attention_in).items():
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
