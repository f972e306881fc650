"""Reading and writing Hugging Face's Llama, without transformers.

Llama and our plain model compute the same function. Their weights differ in
one thing: Llama rotates channel i of a head with channel i + D / 2, ours
rotates 2i with 2i + 1 (Su et al. 2021), so the rows of queries and keys are
reordered.

Llama computes rotary angles and norms in float32, so even in float64 the two
models agree only to float32 precision.
"""

import os
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from minidiff.convert.decoder import build, one_dtype, state_out
from minidiff.convert.folder import read_folder, write_folder
from minidiff.convert.llama_config import config_from_llama, config_to_llama
from minidiff.nn.model import DecoderLM
from minidiff.nn.wrappers import check_unchanged, unwrapped


def to_llama(model: nn.Module) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return a LlamaConfig's fields and LlamaForCausalLM's state.

    The state has copies in the model's dtype: in each layer q_proj.weight
    (H D, E) and k_proj.weight (Hkv D, E) with the rows of a head reordered,
    the same numbers elsewhere. If the embedding is tied, it is also
    ``lm_head.weight`` (vocab_size, E).

    Raises TypeError if model is not a DecoderLM, and ValueError naming what a
    Llama does not support: another attention than "softmax", a head norm,
    weights of several dtypes, or a replaced part.
    """
    check_unchanged(model)
    model = unwrapped(model)
    config = config_to_llama(model.config)
    one_dtype(model, "Llama")
    return config, state_out(model, _attention_out)


def from_llama(
    config: Mapping[str, Any], state: Mapping[str, Tensor]
) -> DecoderLM:
    """Build a plain model from a LlamaConfig's fields and a state.

    The model is on the CPU, in float32, or in float64 if a tensor of the
    state is.

    Parameters
    ----------
    config : mapping
        ``LlamaConfig.to_dict()``, or the contents of its config.json. Missing
        fields have Llama's defaults.
    state : mapping
        ``LlamaForCausalLM.state_dict()``, or the tensors of its file, in the
        shapes that :func:`to_llama` returns.

    Raises
    ------
    ValueError, TypeError
        Naming the field or the tensor.
    """
    ours = config_from_llama(config)
    return build(ours, state, _attention_out, _attention_in)


def save_llama(model: nn.Module, folder: str | os.PathLike[str]) -> None:
    """Write a folder that ``LlamaForCausalLM.from_pretrained`` reads.

    Raises OSError if a file cannot be written, and ValueError as
    :func:`to_llama` does.
    """
    write_folder(folder, "Llama", *to_llama(model))


def load_llama(folder: str | os.PathLike[str]) -> DecoderLM:
    """Read a folder that ``save_llama`` or ``save_pretrained`` wrote.

    Only a single model.safetensors is read, neither shards nor pickled
    weights (.bin). Raises ValueError naming the file, what it has and what
    was expected.
    """
    return read_folder(folder, "Llama", config_from_llama, from_llama)


def _attention_out(
    state: Mapping[str, Tensor], num_heads: int, num_kv_heads: int
) -> dict[str, Tensor]:
    """Return one attention's weights under LlamaAttention's names."""
    return {
        "q_proj.weight": _halves(state["q_proj.weight"], num_heads),
        "k_proj.weight": _halves(state["k_proj.weight"], num_kv_heads),
        "v_proj.weight": state["v_proj.weight"],
        "o_proj.weight": state["out_proj.weight"],
    }


def _attention_in(
    state: Mapping[str, Tensor], num_heads: int, num_kv_heads: int
) -> dict[str, Tensor]:
    """Return one LlamaAttention's weights under our names."""
    return {
        "q_proj.weight": _pairs(state["q_proj.weight"], num_heads),
        "k_proj.weight": _pairs(state["k_proj.weight"], num_kv_heads),
        "v_proj.weight": state["v_proj.weight"],
        "out_proj.weight": state["o_proj.weight"],
    }


def _halves(weight: Tensor, heads: int) -> Tensor:
    """Reorder rows (head, pair, 2) to (head, 2, pair)."""
    return weight.unflatten(0, (heads, -1, 2)).transpose(1, 2).flatten(0, 2)


def _pairs(weight: Tensor, heads: int) -> Tensor:
    """Reorder rows (head, 2, pair) to (head, pair, 2)."""
    return weight.unflatten(0, (heads, 2, -1)).transpose(1, 2).flatten(0, 2)
