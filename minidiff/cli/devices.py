"""Devices that were asked for: usable, or refused by name."""

from typing import Any


def usable_device(name: str) -> Any:
    """Return the torch device; raise ValueError if it cannot be used."""
    import torch

    try:
        device = torch.device(name)
    except RuntimeError:
        raise ValueError(
            f"--device: got {name!r}, expected cpu, cuda or mps"
        ) from None
    try:
        # A device such as meta has tensors, but no numbers in them.
        torch.ones(1, device=device).add(1).item()
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"--device: got {name!r}, expected one this PyTorch can use "
            f"({reason})"
        ) from error
    return device
