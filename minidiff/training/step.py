"""One training step: a batch's gradient over parts and processes, an update.

The same mathematics on one CPU thread and on many GPUs; what differs is the
order in which sums are taken.
"""

import math
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import clip_grad_norm_

from minidiff.data.protocol import IGNORE, DataSource
from minidiff.nn.model import DecoderLM
from minidiff.training.compile import compiled
from minidiff.training.config import Compute, TrainConfig, learning_rate
from minidiff.training.distributed import total, whole, world
from minidiff.training.validation import Validation, validate


class Updates:
    """Updates a model in place, one call a step.

    With several processes each has the same model and config; "fsdp" leaves
    it a share of each of the model's tensors. Raises ValueError if the batch
    cannot be shared out.
    """

    def __init__(
        self, model: DecoderLM, config: TrainConfig, compute: Compute
    ) -> None:
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
        loss = Loss(model, compute.backend)
        several = self._world.size > 1
        self._fsdp = several and compute.parallel == "fsdp"
        self._ddp: DistributedDataParallel | None = None
        if self._fsdp:
            shard(model)
        elif several:
            # The buffers are constants, RoPE's angles: nothing to send.
            loss = self._ddp = DistributedDataParallel(
                loss, broadcast_buffers=False
            )
        layers = len(model.blocks)
        self._loss = compiled(loss, layers) if compute.compile else loss
        # Made last: sharding puts other parameters in the model.
        self.optimizer = adamw(model, config)

    def __call__(self, data: DataSource, step: int) -> dict[str, Any]:
        """Make the update of a step, counted from 0; return its record.

        Raises FloatingPointError, before the weights are changed, if loss or
        gradient is not finite.
        """
        config, size = self._config, self._world.size
        rows = self._world.rows(config.batch_size)
        lr = learning_rate(step, config)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        inputs, targets = (
            x.to(self._device)
            for x in data.batch(step, config.batch_size, "train", rows)
        )
        # A mean over the targets that count, wherever they are: parts may
        # have different numbers of them.
        everywhere = total((targets != IGNORE).sum())
        parts: list[Tensor] = []
        self.optimizer.zero_grad()
        n = self._compute.accumulate
        for i, (x, y) in enumerate(
            zip(inputs.chunk(n), targets.chunk(n), strict=True)
        ):
            share = (y != IGNORE).sum() / everywhere
            with self._gradients_summed(last=i + 1 == n):
                with self._autocast():
                    part = self._loss(x, y) * share
                # DDP and FSDP take the mean of the processes' gradients.
                (part * size).backward()
            parts.append(part.detach())
        norm = clip_grad_norm_(self._model.parameters(), config.clip_norm)
        record = {
            "step": step,
            "loss": total(torch.stack(parts).sum()).item(),
            "lr": lr,
            "grad_norm": whole(norm).item(),
            "tokens": (step + 1) * size * inputs.numel(),
        }
        # Checked before the update, so that the weights are still good ones.
        for name in ("loss", "grad_norm"):
            if not math.isfinite(record[name]):
                raise FloatingPointError(
                    f"{name} is {record[name]} at step {step}, expected a "
                    f"finite number: try a lower lr than {config.lr} or a "
                    f"longer warm-up than {config.warmup_steps} steps"
                )
        self.optimizer.step()
        return record

    def validate(self, data: DataSource) -> Validation:
        """Measure the model on validation batches, executed like an update."""
        with self._autocast():
            measured = validate(
                self._model,
                data,
                batches=self._config.eval_batches,
                batch_size=self._config.batch_size,
                parts=self._compute.accumulate,
            )
        if self._fsdp:
            # Forward alone leaves the outermost tensors whole.
            self._model.reshard()
        return measured

    def _autocast(self) -> AbstractContextManager:
        """Compute in the config's precision while it is open."""
        return torch.autocast(
            self._device.type,
            dtype=torch.bfloat16,
            enabled=self._config.precision == "bfloat16",
        )

    def _gradients_summed(self, last: bool) -> AbstractContextManager:
        """Synchronise gradients only on the last micro-batch."""
        if self._fsdp:
            self._model.set_requires_gradient_sync(last)
        if self._ddp is not None and not last:
            return self._ddp.no_sync()
        return nullcontext()


class Loss(nn.Module):
    """A model's loss as the module that DDP and torch.compile want."""

    def __init__(self, model: DecoderLM, backend: str) -> None:
        super().__init__()
        self.model = model
        # A plain model's attention is PyTorch's own.
        plain = model.config.attention == "softmax"
        self._backend = "auto" if plain else backend

    def forward(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean loss, 0-d, of (B, T) inputs and targets."""
        return self.model.loss(inputs, targets, backend=self._backend)


def shard(model: DecoderLM) -> None:
    """Leave each process a share of every tensor, block by block (FSDP2)."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    device = next(model.parameters()).device.type
    mesh = init_device_mesh(device, (world().size,))
    for block in model.blocks:
        fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)


def adamw(model: nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    """Return the optimiser; on CUDA one kernel updates all weights."""
    # Decay pulls towards zero: right for matrices, wrong for norm weights,
    # whose neutral value is 1, and for the lambda vectors.
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
