"""Conversion of a LlamaConfig's fields to ours and back."""

from collections.abc import Mapping
from typing import Any

from minidiff.convert.config import (
    DEFAULTS,
    FIXED,
    IGNORED,
    checked_fields,
    our_config,
    shared_fields,
)
from minidiff.nn.config import ModelConfig

# LlamaConfig's default values where DiffLlamaConfig's differ [HF].
LLAMA_DEFAULTS = DEFAULTS | {
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "rms_norm_eps": 1e-6,
}
LLAMA_FIXED = FIXED | {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
}
LLAMA_IGNORED = (IGNORED - {"lambda_std_dev"}) | {"pretraining_tp"}


def config_to_llama(config: ModelConfig) -> dict[str, Any]:
    """Return LlamaConfig's fields for the same model.

    Raises ValueError naming the field whose value a Llama does not support.
    """
    for name, got, only in (
        ("attention", config.attention, "softmax"),
        ("head_norm", config.normed, False),
    ):
        if got != only:
            raise ValueError(
                f"{name}: got {got!r}, expected {only!r} for a Llama: it has "
                "plain softmax heads"
            )
    return shared_fields(config, maps=1) | {"mlp_bias": False}


def config_from_llama(values: Mapping[str, Any]) -> ModelConfig:
    """Return our config for the fields of a LlamaConfig.

    A missing field has Llama's default. Raises ValueError or TypeError naming
    the field that our model does not support, such as scaled rotary positions
    or biases.
    """
    given = checked_fields(
        values, "Llama", LLAMA_DEFAULTS, LLAMA_FIXED, LLAMA_IGNORED
    )
    return our_config(given, "softmax")
