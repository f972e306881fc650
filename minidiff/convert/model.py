"""Conversion of a model's weights and config to DiffLlama's and back."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from minidiff.convert.attention import (
    attention_from_diffllama,
    attention_to_diffllama,
)
from minidiff.convert.config import config_from_diffllama, config_to_diffllama
from minidiff.convert.decoder import build, one_dtype, state_out
from minidiff.nn.model import DecoderLM
from minidiff.nn.wrappers import check_unchanged, unwrapped


def to_diffllama(
    model: nn.Module,
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return a DiffLlamaConfig's fields and DiffLlamaForCausalLM's state.

    The state has copies in the model's dtype: the attention of each layer as
    :func:`attention_to_diffllama` returns it, the same numbers elsewhere, such
    as ``model.embed_tokens.weight`` (vocab_size, E). If the embedding is tied,
    it is also ``lm_head.weight``, as in DiffLlama's ``state_dict``.

    Raises TypeError if model is not a DecoderLM, and ValueError naming what
    DiffLlama does not support: another attention than "diff", another
    second_map than "subtract", no head norm, a constant lam_init, weights
    of several dtypes, or a part that was replaced, such as an adapter.
    """
    check_unchanged(model)
    model = unwrapped(model)
    config = config_to_diffllama(model.config)
    one_dtype(model, "DiffLlama")
    return config, state_out(model, attention_to_diffllama)


def from_diffllama(
    config: Mapping[str, Any], state: Mapping[str, Tensor]
) -> DecoderLM:
    """Build a model from a DiffLlamaConfig's fields and a state.

    The head norms' weights are ones. The model is on the CPU, in float32, or
    in float64 if a tensor of the state is.

    Parameters
    ----------
    config : mapping
        ``DiffLlamaConfig.to_dict()``, or the contents of its config.json.
        Missing fields have DiffLlama's defaults.
    state : mapping
        ``DiffLlamaForCausalLM.state_dict()``, or the tensors of its file, in
        the shapes that :func:`to_diffllama` returns.

    Raises
    ------
    ValueError, TypeError
        Naming the field or the tensor, its value and what was expected.
    """
    return build(
        config_from_diffllama(config),
        state,
        attention_to_diffllama,
        attention_from_diffllama,
    )
