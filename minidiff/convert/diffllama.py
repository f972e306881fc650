"""Reading and writing Hugging Face's DiffLlama, without transformers.

DiffLlama and our V1 model compute the same function, but store their weights
differently [HF]:

- DiffLlama stores first all first branches of queries and keys (or halves of
  values) and then all second ones; ours alternate;
- DiffLlama rotates channel i with i + D / 2; ours rotates 2i with 2i + 1;
- DiffLlama's head norm has no weight; on export ours is multiplied into the
  output matrix;
- DiffLlama counts attention maps, 2H; ours counts pairs of them, H.

DiffLlama computes rotary angles, lambda and the norms between layers in
float32, so even in float64 the two models agree only to float32 precision. In
bfloat16 DiffLlama rounds lambda to bfloat16; our model does not.
"""

import json
import os
from pathlib import Path

from torch import Tensor, nn

from minidiff.convert.attention import (
    attention_from_diffllama,
    attention_to_diffllama,
)
from minidiff.convert.config import config_from_diffllama
from minidiff.convert.model import from_diffllama, to_diffllama
from minidiff.files.atomic import replacing, sync
from minidiff.files.json import read_json
from minidiff.files.schema import anything
from minidiff.files.tensors import opened_tensors, write_tensors
from minidiff.nn.model import DecoderLM

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


def save_diffllama(model: nn.Module, folder: str | os.PathLike[str]) -> None:
    """Write a folder that ``DiffLlamaForCausalLM.from_pretrained`` reads.

    It contains config.json and model.safetensors. Both are written under
    temporary names first. If writing is interrupted, the folder still has its
    old files or it has no config.json, so a mixture cannot be loaded.

    Raises OSError if a file cannot be written, and ValueError as
    :func:`to_diffllama` does.
    """
    folder = Path(folder)
    config, state = to_diffllama(model)
    dtype = str(state["lm_head.weight"].dtype).removeprefix("torch.")
    if config["tie_word_embeddings"]:
        del state["lm_head.weight"]  # stored once
    config |= {
        "architectures": ["DiffLlamaForCausalLM"],
        "dtype": dtype,
        "model_type": "diffllama",
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / CONFIG_NAME
    text = json.dumps(config, indent=2, sort_keys=True) + "\n"
    # The inner context, that of the weights, renames its file first.
    with replacing(path) as part, replacing(folder / WEIGHTS_NAME) as weights:
        part.write_text(text, encoding="utf-8")
        write_tensors(weights, state, {"format": "pt"})
        sync(weights)
        # Removed, so that an old config never stands with new weights. If it
        # is a link, the file that it names is removed.
        path.resolve().unlink(missing_ok=True)


def load_diffllama(folder: str | os.PathLike[str]) -> DecoderLM:
    """Read a folder that ``save_diffllama`` or ``save_pretrained`` wrote.

    Only a single model.safetensors is read, neither shards nor pickled
    weights (.bin).

    Raises ValueError naming the file, what it has and what was expected.
    """
    folder = Path(folder)
    path = folder / CONFIG_NAME
    expected = "the config of a DiffLlama"
    config = read_json(path, anything, expected)
    if not isinstance(config, dict) or "model_type" not in config:
        raise ValueError(f"{path}: has no model_type, expected {expected}")
    try:
        config_from_diffllama(config)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{folder}: {error} (in {CONFIG_NAME})") from error
    state = _read_weights(folder / WEIGHTS_NAME)
    try:
        return from_diffllama(config, state)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{folder}: {error} (in {WEIGHTS_NAME})") from error


def _read_weights(path: Path) -> dict[str, Tensor]:
    if not path.exists():
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
    with opened_tensors(path, "the weights of a DiffLlama") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
