"""Models whose training is timed: one size each, on random rows."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from minidiff.data.protocol import ALL


class Size(NamedTuple):
    """One setting: B rows of T tokens; E, L and plain heads of a model."""

    B: int
    T: int
    E: int
    L: int
    heads: int
    vocab_size: int


@dataclass(frozen=True, kw_only=True)
class Peer:
    """One contender: a kind of attention, and who computes it.

    ``operator`` is part of the name of one that must have run, if given.
    """

    name: str
    attention: str
    operator: str | None = None
    kernel: SDPBackend | None = None
    backend: str = "auto"

    def held(self) -> AbstractContextManager[Any]:
        """Allow PyTorch this attention kernel alone while it is open."""
        return (
            nullcontext() if self.kernel is None else sdpa_kernel(self.kernel)
        )


def peers(device: torch.device) -> Iterator[Peer]:
    """Who is timed on a device; the plain ones first."""
    if device.type != "cuda":
        for name, kind in (
            ("plain", "softmax"),
            ("diff", "diff"),
            ("v2", "diff_v2"),
        ):
            yield Peer(
                name=f"{name}/sdpa", attention=kind, operator="scaled_dot"
            )
        return
    for name, kernel in (
        ("cudnn", SDPBackend.CUDNN_ATTENTION),
        ("flash", SDPBackend.FLASH_ATTENTION),
    ):
        yield Peer(
            name=f"plain/{name}",
            attention="softmax",
            operator=f"{name}_attention",
            kernel=kernel,
        )
    for name, kind in (("diff", "diff"), ("v2", "diff_v2")):
        yield Peer(
            name=f"{name}/triton",
            attention=kind,
            operator="minidiff::diff_forward",
            backend="triton",
        )
    yield Peer(name="diff/sdpa", attention="diff", backend="sdpa")


class Rows:
    """Data that is one batch of random tokens, already on the device."""

    def __init__(self, size: Size, device: torch.device) -> None:
        self.vocab_size = size.vocab_size
        g = torch.Generator().manual_seed(0)
        tokens = torch.randint(
            size.vocab_size, (size.B, size.T + 1), generator=g
        ).to(device)
        self._batch = tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous()

    def batch(
        self,
        step: int,
        batch_size: int,
        split: str = "train",
        rows: slice = ALL,
    ) -> tuple[Tensor, Tensor]:
        """Inputs and targets, the same at each step."""
        return self._batch

    def describe(self) -> dict[str, object]:
        """What makes this data itself."""
        return {"kind": "random"}
