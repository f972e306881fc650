"""Named tensors: writing safetensors files, and checking names and shapes."""

import errno
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from minidiff.files.reading import check_readable

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
"""Dtypes that weights may have in a file."""


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


@contextmanager
def opened_tensors(path: Path, expected: str) -> Iterator[Any]:
    """Open a safetensors file, as ``safe_open`` does.

    The library checks that the header and the sizes fit the file. Raises
    ValueError, naming the file, if they do not or it cannot be read;
    ``expected`` says what it should be.
    """
    check_readable(path, expected)
    try:
        with (
            _utf8_name(path) as name,
            safe_open(name, framework="pt") as file,
        ):
            yield file
    except (SafetensorError, OSError) as error:
        raise ValueError(
            f"{path}: cut short or not a safetensors file ({error}), "
            f"expected {expected}"
        ) from error


@contextmanager
def _utf8_name(path: Path) -> Iterator[str]:
    """Yield a name of the file that is UTF-8, as the library needs."""
    name = os.fspath(path)
    try:
        name.encode()
    except UnicodeEncodeError:
        with open(path, "rb") as file:
            yield f"/dev/fd/{file.fileno()}"
    else:
        yield name


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


def check_floats(
    path: str | os.PathLike[str], prefix: str, got: Mapping[str, Tensor]
) -> None:
    """Raise ValueError, naming the first tensor that is not of floats."""
    for name, tensor in got.items():
        if tensor.dtype not in FLOATS:
            raise ValueError(
                f"{path}: tensor {prefix}{name} has dtype {tensor.dtype}, "
                "expected float16, bfloat16, float32 or float64"
            )


def check_layers(
    path: str | os.PathLike[str],
    prefix: str,
    got: Mapping[str, Tensor],
    expected: int,
    field: str,
) -> None:
    """Raise ValueError if a file has fewer layers than its config says.

    ``prefix`` is what the names of a layer's tensors begin with, before its
    number; ``field`` is the name of the config's number of layers. Called
    before a model is built, so that no config can ask for any number of them.
    """
    found = {
        name.removeprefix(prefix).partition(".")[0]
        for name in got
        if name.startswith(prefix)
    }
    if len(found) < expected:
        missing = next(n for n in range(expected) if str(n) not in found)
        raise ValueError(
            f"{path}: tensor {prefix}{missing}.* is missing: {field}: got "
            f"{expected}, expected {len(found)} as the file has"
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
