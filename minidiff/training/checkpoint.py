"""Checkpoints: weights, model configuration and training state in a file."""

import json
import os
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from minidiff.files.atomic import replacing, sync
from minidiff.files.checks import shown
from minidiff.files.json import parse_json
from minidiff.files.reading import check_readable
from minidiff.files.schema import (
    Schema,
    anything,
    fields,
    integer,
    map_of,
    scalar,
)
from minidiff.files.tensors import (
    check_floats,
    check_layers,
    check_tensors,
    opened_tensors,
    with_prefix,
    write_tensors,
)
from minidiff.nn.config import ModelConfig
from minidiff.nn.memory import check_memory
from minidiff.nn.model import DecoderLM, ordinary_model
from minidiff.nn.wrappers import check_unchanged, named_weights, unwrapped
from minidiff.training.distributed import like, on_first, world

FORMAT = "minidiff"
VERSION = "1"
FILE_NAME = "checkpoint.safetensors"
PREVIOUS_NAME = "checkpoint.previous.safetensors"
WRONG = "the model or train entry cannot be read"
EXPECTED = "the JSON that minidiff writes"
TRAIN = fields(
    {},
    {
        "step": integer(),
        "rows": integer(),
        "data": map_of(anything),
        "config": map_of(anything),
    },
)
"""The train entry: empty if only a model was saved."""


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

    ``path`` may also be the folder of a run. The model is on the CPU and its
    weights are float32, even if the file has another dtype or PyTorch's
    defaults are others.

    Raises ValueError naming the file, what it has and what was expected.
    """
    path = checkpoint_path(path)
    checkpoint = load_checkpoint(path)
    check_layers(
        path,
        "blocks.",
        checkpoint.model,
        checkpoint.config.num_layers,
        "num_layers",
    )
    # Names and shapes are compared before anything large is built.
    with torch.device("meta"):
        blank = DecoderLM(checkpoint.config)
    check_tensors(path, "model.", checkpoint.model, named_weights(blank))
    check_memory(checkpoint.config, path)
    model = ordinary_model(checkpoint.config)
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
    tensors = {name: on_first(t, first=first) for name, t in tensors.items()}
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
            previous = path.with_name(PREVIOUS_NAME)
            if path.is_symlink():  # the file it names is about to change
                with replacing(previous) as copy:
                    shutil.copyfile(path, copy)
            else:
                # If killed after this, checkpoint_path finds the previous
                # file.
                os.replace(path, previous)


def load_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Read a checkpoint file onto the CPU.

    Raises ValueError naming the file if it is missing, unreadable, truncated,
    or from another program or another version of the format.
    """
    path = checkpoint_path(path)
    with opened_tensors(path, "a minidiff checkpoint") as file:
        metadata = file.metadata() or {}
        _check_metadata(path, metadata)
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    check_floats(path, "", tensors)
    model = _entry(path, metadata, "model", map_of(scalar))
    try:
        config = ModelConfig.from_dict(model)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{path}: model: {WRONG} ({error}), expected {EXPECTED}"
        ) from error
    return Checkpoint(
        config,
        with_prefix(tensors, "model."),
        with_prefix(tensors, "optimizer."),
        _entry(path, metadata, "train", TRAIN),
    )


def _entry(
    path: Path, metadata: dict[str, str], name: str, schema: Schema
) -> dict[str, Any]:
    """Return one of the two entries that hold JSON."""
    if name not in metadata:
        raise ValueError(f"{path}: {name}: {WRONG} (missing)")
    where = f"{path}: {name}"
    return parse_json(metadata[name], schema, where, EXPECTED, wrong=WRONG)


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
    that one. Raises ValueError if there is no such file or it is unreadable.
    """
    path = Path(path)
    if path.is_dir() and not any(
        (path / name).exists() for name in (FILE_NAME, PREVIOUS_NAME)
    ):
        raise ValueError(
            f"{path}: a folder without {FILE_NAME}, expected the folder of a "
            "run, or a checkpoint"
        )
    file = path / FILE_NAME if path.is_dir() else path
    previous = file.with_name(PREVIOUS_NAME)
    if path.is_dir() and not file.exists() and previous.exists():
        file = previous
    check_readable(file, "a checkpoint or the folder of a run")
    return file


def _check_metadata(path: Path, metadata: dict[str, str]) -> None:
    if metadata.get("format") != FORMAT:
        raise ValueError(
            f"{path}: a safetensors file of another program (format "
            f"{shown(metadata.get('format'))}), expected format {FORMAT!r}"
        )
    if metadata.get("version") != VERSION:
        raise ValueError(
            f"{path}: version {shown(metadata.get('version'))} of the format, "
            f"expected {VERSION!r}: use the minidiff that wrote it"
        )
