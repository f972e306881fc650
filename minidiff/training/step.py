"""One training step: gradient of a batch, clipping and AdamW update.

The gradient is summed over micro-batches and processes. On one CPU thread and
on many GPUs the mathematics is the same; only the order of summation differs.
"""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import clip_grad_norm_

from minidiff.data.protocol import IGNORE, DataSource
from minidiff.nn.model import DecoderLM
from minidiff.training.compile import compiled
from minidiff.training.config import Compute, TrainConfig, learning_rate
from minidiff.training.distributed import total, whole, world
from minidiff.training.validation import (
    Measure,
    Validation,
    backend_for,
    validate,
)

if TYPE_CHECKING:
    from torch.distributed.fsdp import FSDPModule


class Updates:
    """Update a model in place, one call for each step.

    With several processes each passes the same model and config; with "fsdp"
    each keeps only its shard of the model's tensors. Raises ValueError if the
    batch size is not a multiple of processes times micro-batches, or if the
    model cannot be trained here.
    """

    def __init__(
        self, model: DecoderLM, config: TrainConfig, compute: Compute
    ) -> None:
        _check_trainable(model)
        self._world = world()
        parts = self._world.size * compute.accumulate
        if config.batch_size % parts:
            raise ValueError(
                f"batch_size: got {config.batch_size}, expected a multiple "
                f"of {parts}: {self._world.size} processes, accumulate = "
                f"{compute.accumulate}"
            )
        self._model, self._config, self._compute = model, config, compute
        self._device = next(model.parameters()).device
        loss: nn.Module = Loss(model, compute.backend)
        several = self._world.size > 1
        self._fsdp: FSDPModule | None = None
        self._ddp: DistributedDataParallel | None = None
        if several and compute.parallel == "fsdp":
            self._fsdp = shard(model)
        elif several:
            # The buffers are constant (RoPE's angles): no need to send them.
            loss = self._ddp = DistributedDataParallel(
                loss, broadcast_buffers=False
            )
        layers = len(model.blocks)
        measure: nn.Module = Measure(model, compute.backend)
        self._loss: Callable[..., Tensor] = loss
        self._measure: Callable[..., Tensor] = measure
        if compute.compile:
            self._loss = compiled(loss, layers)
            self._measure = compiled(measure, layers)
        # Created last, because sharding replaces the model's parameters.
        self.optimizer = adamw(model, config)
        # Becomes 1, and stays 1, when a loss or gradient is not finite.
        self._broken = torch.zeros((), device=self._device)
        self._unread: list[tuple[dict[str, Any], Tensor]] = []

    @property
    def reading_waits(self) -> bool:
        """Whether reading a value makes the program wait for the device.

        It does on CUDA. There the fused optimiser decides on the device
        whether to skip an update, so a step needs to read nothing. Elsewhere
        each step reads one value anyway.
        """
        return self.optimizer.defaults["fused"]

    def __call__(self, data: DataSource, step: int) -> dict[str, Any]:
        """Do the update of a step, counted from 0, and return its record.

        Raises FloatingPointError and does not change the weights if the loss
        or the gradient is not finite.
        """
        self.update(data, step)
        records, error = self.read()
        if error is not None:
            raise error
        return records[-1]

    def update(self, data: DataSource, step: int) -> None:
        """Start the update of a step, counted from 0, without waiting for it.

        If the loss or the gradient is not finite, this update and all later
        ones do not change the weights and the optimiser.
        """
        config, size = self._config, self._world.size
        rows = self._world.rows(config.batch_size)
        lr = learning_rate(step, config)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        inputs, targets = (
            self._on_device(x)
            for x in _two_tensors(
                data.batch(step, config.batch_size, "train", rows)
            )
        )
        # The loss is the mean over all targets that count, in all processes
        # and micro-batches. These may have different numbers of such targets.
        counted = total((targets != IGNORE).sum())
        parts: list[Tensor] = []
        self.optimizer.zero_grad()
        n = self._compute.accumulate
        for i, (x, y) in enumerate(
            zip(inputs.chunk(n), targets.chunk(n), strict=True)
        ):
            with self._gradients_summed(last=i + 1 == n):
                with self._autocast():
                    part = self._loss(x, y, counted)
                # DDP and FSDP average the gradients over processes, but the
                # sum is needed.
                (part * size).backward()
            parts.append(part.detach())
        norm = clip_grad_norm_(self._model.parameters(), config.clip_norm)
        # The loss is summed at every step, although it is read at few: all
        # processes must agree whether to skip this update, and a loss may be
        # infinite in one of them while all gradients are finite.
        values = torch.stack(
            [total(torch.stack(parts).sum()), whole(norm), counted]
        )
        finite = values.isfinite().all()
        self._broken = self._broken.maximum((~finite).to(self._broken))
        if self.reading_waits:
            # If this is 1, the fused kernel changes nothing. PyTorch's
            # GradScaler passes it to the optimiser in the same way.
            setattr(self.optimizer, "found_inf", self._broken)  # noqa: B010
            self.optimizer.step()
        elif not self._broken:
            self.optimizer.step()
        record = {
            "step": step,
            "loss": None,
            "lr": lr,
            "grad_norm": None,
            "tokens": (step + 1) * size * inputs.numel(),
        }
        self._unread.append((record, values))

    def read(self) -> tuple[list[dict[str, Any]], Exception | None]:
        """Return the records of the updates since the last call.

        Their values are copied from the device in one transfer. If a batch
        had no target that counts, or a loss or a gradient was not finite,
        return only the records before that step, and the error to raise.
        """
        unread, self._unread = self._unread, []
        values = torch.stack([three for _, three in unread]).tolist()
        records: list[dict[str, Any]] = []
        for (record, _), (loss, norm, counted) in zip(
            unread, values, strict=True
        ):
            if counted == 0:
                return records, ValueError(
                    f"data: every target of step {record['step']} is "
                    f"{IGNORE}, expected at least one that counts"
                )
            record |= {"loss": loss, "grad_norm": norm}
            for name in ("loss", "grad_norm"):
                if not math.isfinite(record[name]):
                    return records, self._error(name, record)
            records.append(record)
        return records, None

    def validate(self, data: DataSource) -> Validation:
        """Measure the model on validation batches, executed like an update."""
        with self._autocast():
            measured = validate(
                self._model,
                data,
                measure=self._measure,
                batches=self._config.eval_batches,
                batch_size=self._config.batch_size,
                parts=self._compute.accumulate,
            )
        if self._fsdp is not None:
            # Without a backward pass FSDP leaves the outermost tensors
            # gathered.
            self._fsdp.reshard()
        return measured

    def _error(self, name: str, record: dict[str, Any]) -> FloatingPointError:
        return FloatingPointError(
            f"{name} is {record[name]} at step {record['step']}, expected a "
            f"finite number: try a lower lr than {self._config.lr} or a "
            f"longer warm-up than {self._config.warmup_steps} steps"
        )

    def _on_device(self, x: Tensor) -> Tensor:
        """Copy a tensor to the device; to CUDA asynchronously."""
        if self._device.type != "cuda" or x.device.type != "cpu":
            return x.to(self._device)
        # Only copies from pinned memory are asynchronous.
        return x.pin_memory().to(self._device, non_blocking=True)

    def _autocast(self) -> AbstractContextManager[Any]:
        """Return the autocast context of the config's precision."""
        return torch.autocast(
            self._device.type,
            dtype=torch.bfloat16,
            enabled=self._config.precision == "bfloat16",
        )

    def _gradients_summed(self, last: bool) -> AbstractContextManager[None]:
        """Synchronise gradients only on the last micro-batch."""
        if self._fsdp is not None:
            self._fsdp.set_requires_gradient_sync(last)
        if self._ddp is not None and not last:
            return self._ddp.no_sync()
        return nullcontext()


def _check_trainable(model: nn.Module) -> None:
    """Raise ValueError, before anything is written, if no step can be done."""
    if not torch.is_grad_enabled():
        raise ValueError(
            "train: gradients are switched off here, expected a call outside "
            "torch.no_grad() and torch.inference_mode()"
        )
    weights = list(model.parameters())
    if not any(weight.requires_grad for weight in weights):
        raise ValueError(
            "model: every weight is frozen, expected at least one that "
            "requires a gradient"
        )
    if any(weight.is_meta for weight in weights):
        raise ValueError("model: got weights on meta, expected values")


def _two_tensors(batch: Any) -> Any:
    """Return what a data source's ``batch`` returned, if it can be used."""
    pair = batch if isinstance(batch, tuple | list) else [batch]
    if len(pair) != 2 or not all(isinstance(x, Tensor) for x in pair):
        kinds = ", ".join(type(x).__name__ for x in pair[:3])
        raise TypeError(
            f"data: batch returned {kinds}, expected two tensors, inputs and "
            "targets"
        )
    return pair


class Loss(nn.Module):
    """A model's loss as a module, as DDP and torch.compile require."""

    def __init__(self, model: DecoderLM, backend: str) -> None:
        super().__init__()
        self.model = model
        self._backend = backend_for(model, backend)

    def forward(
        self, inputs: Tensor, targets: Tensor, counted: Tensor
    ) -> Tensor:
        """Return the share of these rows in the mean loss, in nats, 0-d.

        inputs and targets are (B, T); ``counted`` is the number of targets
        that count in the whole batch.
        """
        return self.model.loss(
            inputs, targets, backend=self._backend, counted=counted
        )


def shard(model: DecoderLM) -> "FSDPModule":
    """Shard every tensor of the model over all processes, with FSDP2."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    device = next(model.parameters()).device.type
    mesh = init_device_mesh(device, (world().size,))
    for block in model.blocks:
        fully_shard(block, mesh=mesh)
    return fully_shard(model, mesh=mesh)


def adamw(model: nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    """Return the AdamW optimiser, fused into one kernel on CUDA."""
    # Weight decay pulls towards zero. That suits matrices, but neither norm
    # weights, whose neutral value is 1, nor the lambda vectors.
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    vectors = [p for p in model.parameters() if p.ndim < 2]
    groups = [
        {"params": matrices, "weight_decay": config.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        groups,
        lr=config.lr,
        betas=config.betas,
        eps=config.eps,
        fused=next(model.parameters()).device.type == "cuda",
    )
