"""Autocast on every device: meta, for one, has none, and PyTorch raises."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch.amp import is_autocast_available


def autocast_dtype(device: torch.device) -> torch.dtype | None:
    """Return the dtype that autocast gives products there, None if off."""
    kind = device.type
    if is_autocast_available(kind) and torch.is_autocast_enabled(kind):
        return torch.get_autocast_dtype(kind)
    return None


def without_autocast(device: torch.device) -> AbstractContextManager[Any]:
    """Return a context in which products keep the dtype of their inputs."""
    if is_autocast_available(device.type):
        return torch.autocast(device.type, enabled=False)
    return nullcontext()
