"""Folders with a config.json and a model.safetensors, as transformers writes.

Both files are written under temporary names first. If writing is interrupted,
the folder still has its old files or it has no config.json, so a mixture
cannot be loaded.
"""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from minidiff.files.atomic import replacing, sync
from minidiff.files.json import read_json
from minidiff.files.schema import anything
from minidiff.files.tensors import opened_tensors, write_tensors
from minidiff.nn.model import DecoderLM

CONFIG_NAME = "config.json"
WEIGHTS_NAME = "model.safetensors"


def write_folder(
    folder: str | os.PathLike[str],
    kind: str,
    config: dict[str, Any],
    state: dict[str, Tensor],
) -> None:
    """Write a folder that transformers' ``from_pretrained`` reads.

    ``kind`` is the format's name, "Llama" or "DiffLlama". Raises OSError if a
    file cannot be written.
    """
    folder = Path(folder)
    state = dict(state)
    dtype = str(state["lm_head.weight"].dtype).removeprefix("torch.")
    if config["tie_word_embeddings"]:
        del state["lm_head.weight"]  # stored once
    config = config | {
        "architectures": [f"{kind}ForCausalLM"],
        "dtype": dtype,
        "model_type": kind.lower(),
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


def read_folder(
    folder: str | os.PathLike[str],
    kind: str,
    check_config: Callable[[Mapping[str, Any]], object],
    convert: Callable[[Mapping[str, Any], Mapping[str, Tensor]], DecoderLM],
) -> DecoderLM:
    """Read a folder; ``check_config`` raises before the weights are read.

    Only a single model.safetensors is read, neither shards nor pickled
    weights (.bin). Raises ValueError naming the file, what it has and what
    was expected.
    """
    folder = Path(folder)
    path = folder / CONFIG_NAME
    expected = f"the config of a {kind}"
    config = read_json(path, anything, expected)
    if not isinstance(config, dict) or "model_type" not in config:
        raise ValueError(f"{path}: has no model_type, expected {expected}")
    try:
        check_config(config)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{folder}: {error} (in {CONFIG_NAME})") from error
    state = _read_weights(folder / WEIGHTS_NAME, kind)
    try:
        return convert(config, state)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{folder}: {error} (in {WEIGHTS_NAME})") from error


def _read_weights(path: Path, kind: str) -> dict[str, Tensor]:
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
    with opened_tensors(path, f"the weights of a {kind}") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
