"""Memory filled with NaN, so that a result that is not written is seen."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from minidiff.bench.timing import FLUSH_BYTES

# A GPU's small tensors come from blocks of this size, two to a segment.
_SMALL_BYTES = 2**20


@contextmanager
def poisoned(device: torch.device) -> Iterator[None]:
    """Make memory that an implementation allocates in the block hold NaN.

    On a CPU PyTorch fills every new tensor. On a GPU it would choose other
    kernels for that, and a compiled function would be compiled again. There
    the cached free memory is given back, and new memory is filled with NaN
    and freed, from which PyTorch then takes what is allocated in the block.
    Every byte is 255, which is NaN in all formats of 16 bits and more.
    """
    if device.type == "cuda":
        _poison_free_memory(device)
        yield
        return
    with filled_by_torch():
        yield


@contextmanager
def filled_by_torch() -> Iterator[None]:
    """Let PyTorch fill every new, unwritten tensor in the block with NaN."""
    before = torch.are_deterministic_algorithms_enabled()
    only_warned = torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=only_warned)


def _poison_free_memory(device: torch.device) -> None:
    torch.cuda.synchronize(device)
    torch.cuda.empty_cache()
    torch.empty(FLUSH_BYTES, dtype=torch.int8, device=device).fill_(-1)
    small = [
        torch.full((_SMALL_BYTES,), -1, dtype=torch.int8, device=device)
        for _ in range(64)
    ]
    del small  # all were needed at once, so that none took another's place
    torch.cuda.synchronize(device)
