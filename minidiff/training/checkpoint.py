"""Checkpoints: weights, model configuration and training state in a file."""

import json
import os
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from minidiff.files.atomic import replacing, sync
from minidiff.files.tensors import check_tensors, with_prefix, write_tensors
from minidiff.nn.config import ModelConfig
from minidiff.nn.model import DecoderLM
from minidiff.nn.wrappers import check_unchanged, named_weights, unwrapped
from minidiff.training.distributed import like, on_first, world

FORMAT = "minidiff"
VERSION = "1"
FILE_NAME = "checkpoint.safetensors"
PREVIOUS_NAME = "checkpoint.previous.safetensors"


class Checkpoint(NamedTuple):
    """Contents of a file; optimizer and train are empty if not saved."""

    config: ModelConfig
    model: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    train: dict[str, Any]


def save(model: nn.Module, path: str | os.PathLike[str]) -> None:
    """Write a model's weights and configuration to one file.

    ``model`` is a DecoderLM; it may be compiled or inside a wrapper of DDP or
    FSDP.

    Raises OSError if the file cannot be written, TypeError if there is no
    DecoderLM, and ValueError if ``load`` could not build the model, because
    a part was replaced.
    """
    check_unchanged(model)
    save_checkpoint(path, model)


def load(path: str | os.PathLike[str]) -> DecoderLM:
    """Read a model from a file that ``save`` or ``train`` wrote.

    ``path`` may also be the folder of a run. The model's weights are float32,
    even if the file has another dtype.

    Raises ValueError naming the file, what it has and what was expected.
    """
    path = checkpoint_path(path)
    checkpoint = load_checkpoint(path)
    model = DecoderLM(checkpoint.config)
    restore_weights(model, checkpoint, path)
    return model


def save_checkpoint(
    path: str | os.PathLike[str],
    model: nn.Module,
    optimizer: dict[str, Tensor] | None = None,
    train: dict[str, Any] | None = None,
) -> None:
    """Write weights and, for resuming, optimiser tensors and train state.

    The file is replaced atomically. In a run folder the previous checkpoint
    is kept as ``checkpoint.previous.safetensors``.

    With several processes all must call this function, and the first one
    writes. The file does not depend on the number of processes.

    Raises OSError if the file cannot be written; all files are then as
    before.
    """
    path, first = Path(path), world().first
    tensors = {f"model.{name}": p for name, p in named_weights(model).items()}
    for name, tensor in (optimizer or {}).items():
        tensors[f"optimizer.{name}"] = tensor
    tensors = {name: on_first(t, first) for name, t in tensors.items()}
    if not first:
        return
    metadata = {
        "format": FORMAT,
        "version": VERSION,
        "model": json.dumps(unwrapped(model).config.to_dict()),
        "train": json.dumps(train or {}),
    }
    with replacing(path) as part:
        write_tensors(part, tensors, metadata)
        sync(part)
        if path.name == FILE_NAME and path.exists():
            # If killed after this, checkpoint_path finds the previous file.
            os.replace(path, path.with_name(PREVIOUS_NAME))


def load_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Read a checkpoint file onto the CPU.

    Raises ValueError naming the file if it is missing, truncated, or from
    another program or another version of the format.
    """
    path = checkpoint_path(path)
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            _check_metadata(path, metadata)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(
            f"{path}: cut short or not a safetensors file ({error}), "
            "expected a minidiff checkpoint"
        ) from error
    try:
        config = ModelConfig.from_dict(json.loads(metadata["model"]))
        train = json.loads(metadata["train"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path}: the model or train entry cannot be read ({error}), "
            "expected the JSON that minidiff writes"
        ) from error
    return Checkpoint(
        config,
        with_prefix(tensors, "model."),
        with_prefix(tensors, "optimizer."),
        train,
    )


def restore_weights(
    model: nn.Module, checkpoint: Checkpoint, path: str | os.PathLike[str]
) -> None:
    """Copy a checkpoint's weights into a model of the same shape.

    Raises ValueError naming the file (``path``) and the first tensor that is
    missing, that the model does not have, or whose shape differs.
    """
    weights = named_weights(model)
    check_tensors(path, "model.", checkpoint.model, weights)
    with torch.no_grad():
        for name, parameter in weights.items():
            parameter.copy_(like(checkpoint.model[name], parameter))


def checkpoint_path(path: str | os.PathLike[str]) -> Path:
    """Return the checkpoint file of a run folder, or ``path`` if a file.

    If a killed run left only the previous checkpoint in its folder, return
    that one. Raises ValueError if there is no such file.
    """
    path = Path(path)
    file = path / FILE_NAME if path.is_dir() else path
    previous = file.with_name(PREVIOUS_NAME)
    if path.is_dir() and not file.exists() and previous.exists():
        file = previous
    if not file.is_file():
        raise ValueError(
            f"{file}: no such file, expected a checkpoint or the folder of "
            "a run"
        )
    return file


def _check_metadata(path: Path, metadata: dict[str, str]) -> None:
    if metadata.get("format") != FORMAT:
        raise ValueError(
            f"{path}: a safetensors file of another program (format "
            f"{metadata.get('format')!r}), expected format {FORMAT!r}"
        )
    if metadata.get("version") != VERSION:
        raise ValueError(
            f"{path}: version {metadata.get('version')!r} of the format, "
            f"expected {VERSION!r}: use the minidiff that wrote it"
        )
