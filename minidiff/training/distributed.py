"""Communication of the processes that train one model, and sharded tensors.

torchrun starts the processes, one for each device, and sets their ranks in
the environment. Without torchrun there is one process and no communication.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor


class World(NamedTuple):
    """The rank of this process, from 0, and the number of processes."""

    rank: int
    size: int

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes files and prints."""
        return self.rank == 0

    def rows(self, batch_size: int) -> slice:
        """Return the rows of a batch that this process computes."""
        count = batch_size // self.size
        return slice(self.rank * count, (self.rank + 1) * count)


def world() -> World:
    """Return the rank of this process and the number of processes."""
    if dist.is_available() and dist.is_initialized():
        return World(dist.get_rank(), dist.get_world_size())
    return World(0, 1)


def total(x: Tensor) -> Tensor:
    """Sum x over all processes, in place; every process must call it."""
    if world().size > 1:
        dist.all_reduce(x)
    return x


def anyone(flag: bool) -> bool:
    """Tell whether flag is set in any process; all must call this."""
    return bool(total(torch.tensor(int(flag))))


@contextmanager
def together() -> Iterator[None]:
    """Raise an error in every process if one process has one in the block.

    Without this, the other processes would wait for the failed one forever.
    Inside the block, an error may occur only after the last communication.
    Covers OSError and ValueError; the other processes raise OSError.
    """
    error = None
    try:
        yield
    except (OSError, ValueError) as own:
        error = own
    failed = anyone(error is not None)
    if error is not None:
        raise error
    if failed:
        raise OSError("stopped, because another process could not go on")


@contextmanager
def joined(device: torch.device) -> Iterator[torch.device]:
    """Join the processes that torchrun started; yield this one's device.

    Tensors on CUDA devices are communicated through NCCL, others through
    gloo. Without torchrun, yield ``device`` unchanged.
    """
    if "LOCAL_RANK" not in os.environ:
        yield device
        return
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    cuda = device.type == "cuda"
    dist.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo")
    try:
        yield device
    finally:
        dist.destroy_process_group()


def whole(x: Tensor) -> Tensor:
    """Gather all shards of x; every process must call it.

    A tensor that is not sharded is returned unchanged.
    """
    return x.full_tensor() if hasattr(x, "full_tensor") else x


def like(x: Tensor, parameter: Tensor) -> Tensor:
    """Copy x to the device, dtype and sharding of a parameter.

    x is not sharded. Every process must call this with the same x.
    """
    x = x.to(parameter.device, parameter.dtype, copy=True)
    if not hasattr(parameter, "full_tensor"):
        return x
    from torch.distributed.tensor import DTensor, distribute_tensor

    assert isinstance(parameter, DTensor)
    return distribute_tensor(
        x, parameter.device_mesh, parameter.placements, src_data_rank=None
    )


def on_first(x: Tensor, *, first: bool) -> Tensor:
    """Gather x on the CPU of the first process.

    The other processes return an empty tensor; all must call this.
    """
    x = whole(x.detach())
    return x.cpu() if first else torch.empty(0)
