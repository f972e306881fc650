"""Checkpoints: one safetensors file, weights and how to rebuild the model."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from minidiff.model import DecoderLM, ModelConfig
from minidiff.shards import like, on_first
from minidiff.world import world

FORMAT = "minidiff"
VERSION = "1"
FILE_NAME = "checkpoint.safetensors"
PREVIOUS_NAME = "checkpoint.previous.safetensors"


class Checkpoint(NamedTuple):
    """What a file holds; optimizer and train are empty if not saved."""

    config: ModelConfig
    model: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    train: dict[str, Any]


def save(model: DecoderLM, path: str | os.PathLike[str]) -> None:
    """Write a model, and what is needed to build it again, to one file."""
    save_checkpoint(path, model)


def load(path: str | os.PathLike[str]) -> DecoderLM:
    """Read a model from a file that ``save`` or ``train`` wrote.

    ``path`` may also be the folder of a run. Weights are computed with in
    float32, whatever they are stored in.

    Raises ValueError naming the file, what came and what was expected.
    """
    path = checkpoint_path(path)
    checkpoint = load_checkpoint(path)
    model = DecoderLM(checkpoint.config)
    restore_weights(model, checkpoint, path)
    return model


def save_checkpoint(
    path: str | os.PathLike[str],
    model: DecoderLM,
    optimizer: dict[str, Tensor] | None = None,
    train: dict[str, Any] | None = None,
) -> None:
    """Write weights and, for resuming, optimiser tensors and train state.

    The file appears whole or not at all: it is written under another name,
    forced to the disk, and then renamed. In a run's folder the file before
    is kept, as ``checkpoint.previous.safetensors``.

    Of several processes every one must call it, and the first writes: the
    file does not depend on how many they were.

    Raises OSError, with every file as it was, where it cannot be written.
    """
    path, first = Path(path), world().first
    tensors = {f"model.{name}": p for name, p in _weights(model).items()}
    for name, tensor in (optimizer or {}).items():
        tensors[f"optimizer.{name}"] = tensor
    tensors = {name: on_first(t, first) for name, t in tensors.items()}
    if not first:
        return
    metadata = {
        "format": FORMAT,
        "version": VERSION,
        "model": json.dumps(model.config.to_dict()),
        "train": json.dumps(train or {}),
    }
    temporary = write_part(path, tensors, metadata)
    if path.name == FILE_NAME and path.exists():
        # Killed after this line: checkpoint_path finds the one before.
        os.replace(path, path.with_name(PREVIOUS_NAME))
    os.replace(temporary, path)
    sync(path.parent)


def write_part(
    path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]
) -> Path:
    """Write a safetensors file beside path, whole and on the disk.

    Returns its name; ``os.replace`` to path makes it count. Raises OSError,
    and leaves nothing, where it cannot be written.
    """
    temporary = path.with_name(path.name + ".part")
    contiguous = {n: t.detach().contiguous() for n, t in tensors.items()}
    try:
        save_file(contiguous, temporary, metadata)
        sync(temporary)
    except (OSError, SafetensorError) as error:
        temporary.unlink(missing_ok=True)
        raise OSError(f"{path}: could not be written ({error})") from error
    return temporary


def sync(path: Path) -> None:
    """Force a file, or the names in a folder, from memory to the disk."""
    folder = path.is_dir()
    if folder and os.name != "posix":
        return  # other systems do not open folders
    descriptor = os.open(path, os.O_RDONLY if folder else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def load_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Read a checkpoint file onto the CPU.

    Raises ValueError naming the file if it is missing, cut short, of another
    program or of another version.
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
    model: DecoderLM, checkpoint: Checkpoint, path: str | os.PathLike[str]
) -> None:
    """Copy a checkpoint's weights into a model of the same shape.

    Raises ValueError naming the file (``path``) and the first tensor that is
    missing, that the model does not have, or whose shape differs.
    """
    weights = _weights(model)
    check_tensors(path, "model.", checkpoint.model, weights)
    with torch.no_grad():
        for name, parameter in weights.items():
            parameter.copy_(like(checkpoint.model[name], parameter))


def check_tensors(
    path: str | os.PathLike[str],
    prefix: str,
    got: dict[str, Tensor],
    expected: dict[str, Tensor],
) -> None:
    """Raise ValueError unless names and shapes of two sets agree."""
    for name in sorted(got.keys() ^ expected.keys()):
        state = "is missing" if name in expected else "is not of this model"
        raise ValueError(
            f"{path}: tensor {prefix}{name} {state}, expected "
            f"{len(expected)} tensors as the model has"
        )
    for name, tensor in expected.items():
        if got[name].shape != tensor.shape:
            raise ValueError(
                f"{path}: tensor {prefix}{name} has shape "
                f"{tuple(got[name].shape)}, expected {tuple(tensor.shape)}"
            )


def checkpoint_path(path: str | os.PathLike[str]) -> Path:
    """Return the checkpoint in a run folder, or the file itself.

    Where a kill left the one before alone, that one. Raises ValueError if
    there is no such file.
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


def _weights(model: DecoderLM) -> dict[str, Tensor]:
    # named_parameters gives a shared tensor once, so tied weights are too.
    return dict(model.named_parameters())


def with_prefix(
    tensors: Mapping[str, Tensor], prefix: str
) -> dict[str, Tensor]:
    """Return the tensors whose names begin with prefix, without it."""
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }


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
