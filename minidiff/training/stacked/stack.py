"""Stacked weights of several models, with their optimiser and update step."""

import copy
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import torch
from torch import Tensor
from torch.func import functional_call, stack_module_state
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import cross_entropy

from minidiff.data.protocol import IGNORE
from minidiff.nn.model import DecoderLM
from minidiff.ops.wide import wide
from minidiff.training.config import TrainConfig, learning_rate


class _Graph(NamedTuple):
    """A captured step for rows of one shape.

    ``replay`` runs it on ``inputs`` and writes ``losses`` (M,).
    """

    inputs: list[Tensor]
    losses: Tensor
    replay: Callable[[], None]


class Stack:
    """Stacked weights of M models, with their optimiser and update step.

    ``rates`` are the M peak learning rates.
    """

    def __init__(
        self,
        models: Sequence[DecoderLM],
        config: TrainConfig,
        rates: list[float],
        backend: str,
        compile: bool,
    ) -> None:
        self.device = next(models[0].parameters()).device
        self._config = config
        self._backend = backend
        weights, _ = stack_module_state(list(models))
        # RoPE's tables are the same for all models, so they are not stacked.
        self._buffers = dict(models[0].named_buffers())
        trained = {n: p.requires_grad for n, p in models[0].named_parameters()}
        self._weights = {
            name: w.detach().requires_grad_(trained[name])
            for name, w in weights.items()
        }
        self._base = copy.deepcopy(models[0]).to("meta")
        parameters = self._trained()
        self._mean = [torch.zeros_like(p) for p in parameters]
        self._square = [torch.zeros_like(p) for p in parameters]
        # As in single training, weight decay applies to matrices, but not to
        # norm weights and lambda vectors.
        self._decay = [
            config.weight_decay if p.ndim > 2 else 0.0 for p in parameters
        ]
        # In float64, like the Python floats of single training.
        self._rates = torch.tensor(rates, dtype=torch.float64).to(self.device)
        self._lr = torch.zeros_like(self._rates)
        self._count = torch.zeros_like(self._rates[0])
        self._losses = torch.vmap(self._loss)
        self._adam = adamw_step
        if compile:
            self._losses = torch.compile(self._losses, dynamic=False)
            self._adam = torch.compile(adamw_step, dynamic=False)
        self._graphs: dict[tuple[torch.Size, ...], _Graph] = {}

    def step(self, rows: list[Tensor], step: int) -> Tensor:
        """Update every model on its rows; return the losses (M,).

        rows has inputs, targets and, if few targets count, their positions,
        each (M, B, ...). Steps are counted from 0.
        """
        share = learning_rate(step, self._config) / self._config.lr
        self._lr.copy_(self._rates * share)
        if self.device.type != "cuda":
            return self._update(rows)
        shapes = tuple(x.shape for x in rows)
        if shapes not in self._graphs:
            self._graphs[shapes] = self._capture(rows)
        inputs, losses, replay = self._graphs[shapes]
        for held, new in zip(inputs, rows, strict=True):
            held.copy_(new)
        replay()
        return losses

    @torch.no_grad()
    def evaluate(
        self, batches: list[list[Tensor]], of_model: Tensor
    ) -> Tensor:
        """Return mean loss (nats) and accuracy of each model, (2, M).

        ``of_model`` (M,) has the index of each model's source in a batch.
        """
        M = len(self._rates)
        totals = torch.zeros(3, M, dtype=torch.float64, device=self.device)
        for rows in batches:
            x, y, *places = (part[of_model] for part in rows)
            with self._kernels():
                logits = torch.vmap(self._logits)(self._weights, x, *places)
            counted = y != IGNORE
            loss = cross_entropy(
                wide(logits).flatten(0, 2),
                y.flatten(),
                ignore_index=IGNORE,
                reduction="none",
            ).view(y.shape)
            right = (logits.argmax(-1) == y) & counted
            for total, part in zip(
                totals, (loss, right, counted), strict=True
            ):
                total += part.sum((1, 2), dtype=torch.float64)
        return totals[:2] / totals[2]

    @torch.no_grad()
    def write_back(self, models: Sequence[DecoderLM]) -> None:
        """Copy the trained weights into the models."""
        for i, model in enumerate(models):
            own = dict(model.named_parameters())
            for name, stacked in self._weights.items():
                own[name].copy_(stacked[i])

    def _kernels(self) -> AbstractContextManager[None]:
        """Allow the one kernel of PyTorch's that is right under vmap."""
        if self._backend == "sdpa" and self.device.type == "cuda":
            return sdpa_kernel(SDPBackend.FLASH_ATTENTION)
        return nullcontext()

    def _logits(
        self,
        weights: dict[str, Tensor],
        tokens: Tensor,
        places: Tensor | None = None,
    ) -> Tensor:
        with torch.autocast(
            self.device.type,
            dtype=torch.bfloat16,
            enabled=self._config.precision == "bfloat16",
        ):
            return functional_call(
                self._base,
                (weights, self._buffers),
                (tokens,),
                {"backend": self._backend, "positions": places},
            )

    def _loss(
        self,
        weights: dict[str, Tensor],
        tokens: Tensor,
        targets: Tensor,
        places: Tensor | None = None,
    ) -> Tensor:
        """Return one model's mean loss over the targets that count, 0-d."""
        logits = self._logits(weights, tokens, places)
        return cross_entropy(
            wide(logits).flatten(0, 1),
            targets.flatten(),
            ignore_index=IGNORE,
        )

    def _trained(self) -> list[Tensor]:
        """Return the stacked weights that are not frozen."""
        return [w for w in self._weights.values() if w.requires_grad]

    def _update(self, rows: list[Tensor]) -> Tensor:
        parameters = self._trained()
        with self._kernels():
            losses = self._losses(self._weights, *rows)
        gradients = torch.autograd.grad(losses.sum(), parameters)
        self._adam(
            parameters,
            list(gradients),
            self._mean,
            self._square,
            self._decay,
            self._lr,
            self._count,
            self._config.betas,
            self._config.eps,
            self._config.clip_norm,
        )
        return losses.detach()

    def _capture(self, rows: list[Tensor]) -> "_Graph":
        """Capture one step as a CUDA graph without changing the state."""
        inputs = [x.clone() for x in rows]
        state = [*self._weights.values(), *self._mean, *self._square]
        before = [x.detach().clone() for x in (*state, self._count)]
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):  # warm-up: compile, initialise libraries
                self._update(inputs)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            losses = self._update(inputs)
        with torch.no_grad():
            for x, old in zip((*state, self._count), before, strict=True):
                x.copy_(old)
        return _Graph(inputs, losses, graph.replay)


@torch.no_grad()
def adamw_step(
    parameters: list[Tensor],
    gradients: list[Tensor],
    mean: list[Tensor],
    square: list[Tensor],
    decay: list[float],
    lr: Tensor,
    count: Tensor,
    betas: tuple[float, float],
    eps: float,
    clip_norm: float,
) -> None:
    """Clip each model's gradient to clip_norm and apply AdamW, in place.

    All tensors are (M, ...) except lr, which is (M,), and count, the number
    of updates so far, which is 0-d. mean and square are AdamW's moments.
    Loshchilov and Hutter 2019, with PyTorch's order of operations.
    """
    squares = torch.stack([g.flatten(1).square().sum(1) for g in gradients])
    clip = (clip_norm / (squares.sum(0).sqrt() + 1e-6)).clamp(max=1.0)
    count += 1
    correct1, correct2 = (1 - beta**count for beta in betas)
    for p, g, m, s, weight_decay in zip(
        parameters, gradients, mean, square, decay, strict=True
    ):
        shape = (-1,) + (1,) * (p.ndim - 1)
        g = g * clip.view(shape)
        m.lerp_(g, 1 - betas[0])
        s.mul_(betas[1]).addcmul_(g, g, value=1 - betas[1])
        kept, rate = (
            x.to(p.dtype).view(shape)
            for x in (1 - lr * weight_decay, lr / correct1)
        )
        scale = (s / correct2.to(p.dtype)).sqrt() + eps
        p.mul_(kept).sub_(rate * m / scale)
