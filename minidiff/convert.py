"""Hugging Face's DiffLlama in and out: V1 models, no transformers needed.

Both compute the same function. What differs in the weights [HF]:

- query, key and value heads lie in blocks, all first branches (or halves of
  values) and then all second ones, where ours alternate;
- channel i is rotated with i + D / 2, where ours rotates 2i with 2i + 1;
- the head norm has no weight: ours is multiplied into the output matrix;
- attention maps are counted, 2H, where ours counts pairs of them.

A DiffLlama computes rotary angles, lambda and the norms between layers in
float32, so in float64 too the two agree as far as float32 goes. In bfloat16
it rounds lambda to bfloat16, which we do not.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from minidiff.checkpoint import check_tensors, write_part
from minidiff.convert_attention import (
    attention_from_diffllama,
    attention_to_diffllama,
)
from minidiff.convert_config import config_from_diffllama, config_to_diffllama
from minidiff.model import DecoderLM, ModelConfig

__all__ = [
    "attention_from_diffllama",
    "attention_to_diffllama",
    "from_diffllama",
    "load_diffllama",
    "save_diffllama",
    "to_diffllama",
]

CONFIG_NAME = "config.json"
WEIGHTS_NAME = "model.safetensors"

# Names inside one layer, ours to theirs; attention has its own function.
ATTENTION, SELF_ATTN = "attention.", "self_attn."
PLAIN = {
    "attention_norm.weight": "input_layernorm.weight",
    "ffn_norm.weight": "post_attention_layernorm.weight",
    "ffn.gate_proj.weight": "mlp.gate_proj.weight",
    "ffn.up_proj.weight": "mlp.up_proj.weight",
    "ffn.down_proj.weight": "mlp.down_proj.weight",
}
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def to_diffllama(
    model: DecoderLM,
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return a DiffLlamaConfig's fields and DiffLlamaForCausalLM's state.

    The state holds copies, in the model's dtype. Tied models have the
    embedding as ``lm_head.weight`` too, as DiffLlama's ``state_dict`` has.

    Raises TypeError if model is not a DecoderLM, and ValueError naming what
    a DiffLlama does not have: another attention than "diff", no head norm, a
    constant lam_init, weights of several dtypes.
    """
    if not isinstance(model, DecoderLM):
        raise TypeError(
            f"model: got {type(model).__name__}, expected a DecoderLM"
        )
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
        ``DiffLlamaConfig.to_dict()``, or what its config.json holds. What
        is missing has DiffLlama's default.
    state : mapping
        ``DiffLlamaForCausalLM.state_dict()``, or what its file holds.

    The head norms get a weight of ones. The model computes in float32, or
    float64 if that is what came, on the CPU.

    Raises ValueError or TypeError naming the field or the tensor, what came
    and what was expected.
    """
    ours = config_from_diffllama(config)
    state = dict(state)
    if ours.tie_embeddings:
        _tie(state)
    # Names and shapes come from the way out, on tensors without memory.
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
    model = DecoderLM(ours).to(dtype)
    with torch.no_grad():
        parameters = dict(model.named_parameters())
        for name, tensor in _state_in(state, ours).items():
            parameters[name].copy_(tensor)
    return model


def save_diffllama(model: DecoderLM, folder: str | os.PathLike[str]) -> None:
    """Write a folder that ``DiffLlamaForCausalLM.from_pretrained`` reads.

    It holds config.json and model.safetensors, both written under another
    name first. A folder stopped half-way has no config.json, so nothing
    loads it.
    """
    folder = Path(folder)
    config, state = to_diffllama(model)
    if model.config.tie_embeddings:
        del state["lm_head.weight"]  # stored once
    dtype = str(model.embedding.weight.dtype).removeprefix("torch.")
    config |= {
        "architectures": ["DiffLlamaForCausalLM"],
        "dtype": dtype,
        "model_type": "diffllama",
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / CONFIG_NAME
    temporary = path.with_name(path.name + ".part")
    with temporary.open("w", encoding="utf-8") as file:
        json.dump(config, file, indent=2, sort_keys=True)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    weights = write_part(folder / WEIGHTS_NAME, state, {"format": "pt"})
    # Never an old config beside new weights.
    path.unlink(missing_ok=True)
    os.replace(weights, folder / WEIGHTS_NAME)
    os.replace(temporary, path)


def load_diffllama(folder: str | os.PathLike[str]) -> DecoderLM:
    """Read a folder that ``save_diffllama`` or ``save_pretrained`` wrote.

    Only a single model.safetensors is read; pickled weights (.bin) never.

    Raises ValueError naming the file, what came and what was expected.
    """
    folder = Path(folder)
    path = folder / CONFIG_NAME
    if not path.is_file():
        raise ValueError(
            f"{path}: no such file, expected the folder of a DiffLlama"
        )
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(
            f"{path}: cannot be read ({error}), expected JSON"
        ) from error
    if not isinstance(config, dict) or "model_type" not in config:
        raise ValueError(
            f"{path}: has no model_type, expected the config of a DiffLlama"
        )
    state = _read_weights(folder / WEIGHTS_NAME)
    try:
        return from_diffllama(config, state)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{folder}: {error}") from error


def _read_weights(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        others = [
            p.name
            for p in sorted(path.parent.iterdir())
            if p.name.endswith((".bin", ".pt", ".pth", ".index.json"))
        ]
        found = f" (there is {', '.join(others)})" if others else ""
        raise ValueError(
            f"{path}: no such file{found}, expected one file of safetensors: "
            "shards are not read, and .bin files are pickles, which can run "
            "any code"
        )
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(
            f"{path}: cut short or not a safetensors file ({error}), "
            "expected the weights of a DiffLlama"
        ) from error


def _tie(state: dict[str, Tensor]) -> None:
    """Give a tied state its head, which files leave out."""
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
    own = {n: p.detach().clone() for n, p in model.named_parameters()}
    sizes = model.config.heads, model.config.kv_heads
    state = {"model.embed_tokens.weight": own["embedding.weight"]}
    for i in range(model.config.num_layers):
        layer = _part(own, f"blocks.{i}.")
        theirs = {new: layer[old] for old, new in PLAIN.items()}
        attention = attention_to_diffllama(_part(layer, ATTENTION), *sizes)
        theirs |= {SELF_ATTN + n: t for n, t in attention.items()}
        state |= {f"model.layers.{i}.{n}": t for n, t in theirs.items()}
    state["model.norm.weight"] = own["norm.weight"]
    head = "head.weight" if "head.weight" in own else "embedding.weight"
    return state | {"lm_head.weight": own[head]}


def _state_in(
    state: dict[str, Tensor], config: ModelConfig
) -> dict[str, Tensor]:
    """Return DiffLlama's weights under our names; the inverse."""
    sizes = config.heads, config.kv_heads
    own = {"embedding.weight": state["model.embed_tokens.weight"]}
    for i in range(config.num_layers):
        theirs = _part(state, f"model.layers.{i}.")
        layer = {old: theirs[new] for old, new in PLAIN.items()}
        attention = attention_from_diffllama(_part(theirs, SELF_ATTN), *sizes)
        layer |= {ATTENTION + n: t for n, t in attention.items()}
        own |= {f"blocks.{i}.{n}": t for n, t in layer.items()}
    own["norm.weight"] = state["model.norm.weight"]
    if not config.tie_embeddings:
        own["head.weight"] = state["lm_head.weight"]
    return own


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }
