"""Models whose training is timed, and their data: random tokens."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from minidiff.data.protocol import ALL


class Size(NamedTuple):
    """One setting: B rows of T tokens; a model's width, layers and heads.

    E is the width and L the number of layers; heads are those of the plain
    model.
    """

    B: int
    T: int
    E: int
    L: int
    heads: int
    vocab_size: int


@dataclass(frozen=True, kw_only=True)
class Peer:
    """One kind of attention with one implementation of it.

    ``operator``, if given, is part of the name of an operator that must run.
    """

    name: str
    attention: str
    operator: str | None = None
    kernel: SDPBackend | None = None
    backend: str = "auto"

    def held(self) -> AbstractContextManager[Any]:
        """Restrict PyTorch to this attention kernel inside the block."""
        return (
            nullcontext() if self.kernel is None else sdpa_kernel(self.kernel)
        )


def peers(device: torch.device) -> Iterator[Peer]:
    """Return the models to time on a device; the plain ones first."""
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
    """Data source of one batch of random tokens, already on the device."""

    def __init__(
        self, size: Size, device: torch.device, seed: int = 0
    ) -> None:
        self.vocab_size = size.vocab_size
        g = torch.Generator().manual_seed(seed)
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
        """Describe this data as JSON values; equal for equal data."""
        return {"kind": "random"}
