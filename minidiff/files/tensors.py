"""Named tensors: writing safetensors files, and checking names and shapes."""

import errno
import os
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor


def write_tensors(
    path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str]
) -> None:
    """Write a safetensors file.

    Call it inside :func:`minidiff.files.atomic.replacing`. Raises OSError if
    the file cannot be written.
    """
    contiguous = {n: t.detach().contiguous() for n, t in tensors.items()}
    try:
        save_file(contiguous, path, metadata)
    except SafetensorError as error:
        raise OSError(errno.EIO, str(error)) from error


def check_tensors(
    path: str | os.PathLike[str],
    prefix: str,
    got: Mapping[str, Tensor],
    expected: Mapping[str, Tensor],
) -> None:
    """Raise ValueError unless two sets of tensors agree in names and shapes.

    The message names ``path`` and the first differing tensor, with ``prefix``
    before its name.
    """
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


def with_prefix(
    tensors: Mapping[str, Tensor], prefix: str
) -> dict[str, Tensor]:
    """Return the tensors whose names begin with prefix, without it."""
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }
