"""Processes that train one model together, and tensors sharded over them.

torchrun starts the processes, one a device, and sets each one's number in the
environment. Without it there is one process, and nothing here communicates.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor


class World(NamedTuple):
    """This process's number, from 0, and how many there are."""

    rank: int
    size: int

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes and shows."""
        return self.rank == 0

    def rows(self, batch_size: int) -> slice:
        """This process's share of a batch's rows."""
        count = batch_size // self.size
        return slice(self.rank * count, (self.rank + 1) * count)


def world() -> World:
    """Return who this process is now."""
    if dist.is_available() and dist.is_initialized():
        return World(dist.get_rank(), dist.get_world_size())
    return World(0, 1)


def total(x: Tensor) -> Tensor:
    """Sum over all processes, in place; every one of them must call it."""
    if world().size > 1:
        dist.all_reduce(x)
    return x


def anyone(flag: bool) -> bool:
    """Whether it is so in any process; every one of them must ask."""
    return bool(total(torch.tensor(int(flag))))


@contextmanager
def together() -> Iterator[None]:
    """Let an error of one process end all of them, when this closes.

    Otherwise the others would wait for it until they are killed. Inside, an
    error may come only after the last exchange with others.
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

    Tensors on CUDA devices travel through NCCL, others through gloo.
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
    """Return x with all its entries; every process must call it.

    A tensor that is not shared out is returned as it is.
    """
    return x.full_tensor() if hasattr(x, "full_tensor") else x


def like(x: Tensor, parameter: Tensor) -> Tensor:
    """Return a copy of x, whole, as the parameter is: device, dtype, share.

    Every process must call it with the same x.
    """
    x = x.to(parameter.device, parameter.dtype, copy=True)
    if not hasattr(parameter, "full_tensor"):
        return x
    from torch.distributed.tensor import DTensor, distribute_tensor

    assert isinstance(parameter, DTensor)
    return distribute_tensor(
        x, parameter.device_mesh, parameter.placements, src_data_rank=None
    )


def on_first(x: Tensor, first: bool) -> Tensor:
    """Return x whole on the CPU of the first process, empty on the others."""
    x = whole(x.detach())
    return x.cpu() if first else torch.empty(0)
