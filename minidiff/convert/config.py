"""Conversion of a DiffLlamaConfig's fields to ours and back.

llama_config.py shares what the two formats have in common.
"""

import sys
from collections.abc import Iterable, Mapping
from typing import Any

from minidiff.files.checks import positive_int, shown
from minidiff.files.limits import LIMITS, check_limit
from minidiff.nn.config import ModelConfig
from minidiff.nn.layers import swiglu_width

# DiffLlamaConfig's default values [HF].
DEFAULTS = {
    "vocab_size": 32000,
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "num_hidden_layers": 16,
    "num_attention_heads": 32,
    "max_position_embeddings": 2048,
    "rms_norm_eps": 1e-5,
    "tie_word_embeddings": False,
}
ROPE_THETA = 10000.0
# The sizes among them, and the same sizes of ours.
SIZES = {
    "vocab_size": "vocab_size",
    "hidden_size": "embed_dim",
    "intermediate_size": "ffn_dim",
    "num_hidden_layers": "num_layers",
    "num_attention_heads": "num_heads",
    "max_position_embeddings": "max_length",
}

# Fields for which our model supports one value only.
FIXED = {
    "hidden_act": "silu",
    "attention_bias": False,
    "attention_dropout": 0.0,
    "mlp_bias": False,
    "is_encoder_decoder": False,
    "chunk_size_feed_forward": 0,
    "model_type": "diffllama",
    "architectures": ["DiffLlamaForCausalLM"],
}

# Fields that do not change the logits.
IGNORED = {
    "_attn_implementation_autoset",
    "_name_or_path",
    "bos_token_id",
    "dtype",
    "eos_token_id",
    "id2label",
    "initializer_range",
    "label2id",
    "lambda_std_dev",
    "output_attentions",
    "output_hidden_states",
    "pad_token_id",
    "problem_type",
    "return_dict",
    "torch_dtype",
    "transformers_version",
    "use_cache",
}
HEADS = {"num_key_value_heads", "head_dim"}
# The last two are fields of transformers 4.
ROPE = {"rope_parameters", "rope_scaling", "rope_theta"}


def config_to_diffllama(config: ModelConfig) -> dict[str, Any]:
    """Return DiffLlamaConfig's fields for the same model.

    eos_token_id is None, because our models have no end-of-text token.

    Raises ValueError naming the field whose value DiffLlama does not support.
    """
    for name, only, why in (
        ("attention", "diff", "it has V1 attention"),
        ("normed", True, "it always normalises the heads"),
        ("second_map", "subtract", "it always subtracts the second map"),
        ("lam_init", None, "it always follows the schedule"),
    ):
        if getattr(config, name) != only:
            name = {"normed": "head_norm"}.get(name, name)
            raise ValueError(
                f"{name}: got {getattr(config, name)!r}, expected {only!r} "
                f"for a DiffLlama: {why}"
            )
    return shared_fields(config, maps=2) | {"lambda_std_dev": 0.1}


def shared_fields(config: ModelConfig, maps: int) -> dict[str, Any]:
    """Return the fields that a Llama and a DiffLlama share.

    ``maps`` is the number of attention maps of one of our heads: both formats
    count maps.
    """
    return {
        "vocab_size": config.vocab_size,
        "hidden_size": config.embed_dim,
        "intermediate_size": config.ffn_dim or swiglu_width(config.embed_dim),
        "num_hidden_layers": config.num_layers,
        "num_attention_heads": maps * config.heads,
        "num_key_value_heads": maps * config.kv_heads,
        "head_dim": config.head_dim,
        "hidden_act": "silu",
        "max_position_embeddings": config.max_length,
        "initializer_range": 0.02,
        "rms_norm_eps": config.norm_eps,
        "use_cache": True,
        "pad_token_id": None,
        "bos_token_id": None,
        "eos_token_id": None,
        "tie_word_embeddings": config.tie_embeddings,
        "rope_parameters": {
            "rope_theta": config.rope_base,
            "rope_type": "default",
        },
        "attention_bias": False,
        "attention_dropout": 0.0,
    }


def config_from_diffllama(values: Mapping[str, Any]) -> ModelConfig:
    """Return our config for the fields of a DiffLlamaConfig.

    A missing field has DiffLlama's default. Versions 4 and 5 of
    transformers write the rotary base in different places; both are read.

    Raises ValueError or TypeError naming the field that our model does not
    support.
    """
    given = checked_fields(values, "DiffLlama", DEFAULTS, FIXED, IGNORED)
    if given["num_attention_heads"] % 2:
        raise ValueError(
            f"num_attention_heads: got {given['num_attention_heads']}, "
            "expected an even number, two maps a head"
        )
    kv_heads = _kv_heads(given)
    if kv_heads % 2:
        raise ValueError(
            f"num_key_value_heads: got {kv_heads}, expected an even divisor "
            f"of num_attention_heads = {given['num_attention_heads']}"
        )
    return our_config(given, "diff")


def checked_fields(
    values: Mapping[str, Any],
    kind: str,
    defaults: Mapping[str, Any],
    fixed: Mapping[str, Any],
    ignored: Iterable[str],
) -> dict[str, Any]:
    """Check a config's fields and return them, with defaults for missing ones.

    ``kind`` is the name of the format. ``fixed`` are fields of which only one
    value is supported; ``ignored`` are fields without effect on the logits.
    """
    if not isinstance(values, Mapping):
        raise TypeError(
            f"config: got {type(values).__name__}, expected a dict, such as "
            f"{kind}Config.to_dict() returns"
        )
    known = {*defaults, *fixed, *ignored, *HEADS, *ROPE}
    for name, value in values.items():
        if name not in known and value is not None:
            raise ValueError(
                f"{name}: got {shown(value)}, a field that is not {kind}'s, "
                "expected only fields whose effect is known"
            )
    for name, only in fixed.items():
        if values.get(name) not in (None, only):
            raise ValueError(
                f"{name}: got {shown(values[name])}, expected {only!r}"
            )
    given = {**defaults, **{n: v for n, v in values.items() if v is not None}}
    for name, ours in SIZES.items():
        check_limit(name, positive_int(name, given[name]), LIMITS[ours])
    _positive("rms_norm_eps", given["rms_norm_eps"])
    if not isinstance(given["tie_word_embeddings"], bool):
        raise TypeError(
            "tie_word_embeddings: got "
            f"{shown(given['tie_word_embeddings'])}, expected a bool"
        )
    return given


def our_config(given: Mapping[str, Any], attention: str) -> ModelConfig:
    """Return our config for fields that :func:`checked_fields` returned."""
    return ModelConfig(
        vocab_size=given["vocab_size"],
        embed_dim=given["hidden_size"],
        num_layers=given["num_hidden_layers"],
        num_heads=given["num_attention_heads"],
        num_kv_heads=_kv_heads(given),
        attention=attention,
        ffn_dim=given["intermediate_size"],
        max_length=given["max_position_embeddings"],
        rope_base=_rope_base(given),
        norm_eps=_positive("rms_norm_eps", given["rms_norm_eps"]),
        tie_embeddings=given["tie_word_embeddings"],
    )


def _kv_heads(given: Mapping[str, Any]) -> int:
    """Check all head counts and widths; return the key/value heads."""
    E, heads = given["hidden_size"], given["num_attention_heads"]
    if E % (2 * heads):
        raise ValueError(
            f"hidden_size: got {E}, expected a multiple of "
            f"2 num_attention_heads = {2 * heads}"
        )
    D = E // heads
    if given.get("head_dim", D) != D:
        raise ValueError(
            f"head_dim: got {shown(given['head_dim'])}, expected "
            f"hidden_size / num_attention_heads = {D}"
        )
    kv_heads = given.get("num_key_value_heads", heads)
    if heads % positive_int("num_key_value_heads", kv_heads):
        raise ValueError(
            f"num_key_value_heads: got {kv_heads}, expected a divisor of "
            f"num_attention_heads = {heads}"
        )
    return kv_heads


def _rope_base(values: Mapping[str, Any]) -> float:
    """Return the rotary base.

    The fields are searched in the same order as in transformers 5.
    """
    name = "rope_scaling" if values.get("rope_scaling") else "rope_parameters"
    rope = values.get(name) or {}
    if not isinstance(rope, Mapping):
        raise TypeError(f"{name}: got {shown(rope)}, expected a dict or None")
    kinds = {rope.get("rope_type"), rope.get("type")} - {None, "default"}
    more = rope.keys() - {"rope_theta", "rope_type", "type"}
    if kinds or any(rope[key] is not None for key in more):
        raise ValueError(
            f"{name}: got {shown(dict(rope))}, expected a rope_theta and "
            "rope_type 'default': positions are not scaled here"
        )
    for base in (rope.get("rope_theta"), values.get("rope_theta")):
        if base is not None:
            return _positive("rope_theta", base)
    return ROPE_THETA


def _positive(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name}: got {shown(value)}, expected a number > 0")
    if not 0 < value <= sys.float_info.max:
        raise ValueError(
            f"{name}: got {str(value)[:60]}, expected a number > 0"
        )
    return float(value)
