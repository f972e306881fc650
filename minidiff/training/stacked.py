"""Train many small models of one configuration in one step.

A small model leaves a GPU idle, and evidence needs many seeds. Here the
weights of all models lie along a leading axis, and ``torch.vmap`` maps one
model's loss over it: the modules are those that are trained alone, each
linear layer becomes one batched product, and the whole step is one CUDA
graph. Models do not touch each other: each has its own rows, gradient,
clipping, rate and optimiser state.
"""

import copy
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, groupby
from typing import NamedTuple

import torch
from torch import Tensor
from torch.func import functional_call, stack_module_state
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from minidiff.data.protocol import IGNORE, DataSource
from minidiff.nn.model import DecoderLM
from minidiff.training.config import TrainConfig, learning_rate

CHUNK = 20  # steps whose batches are sent to the device at once


class Curves(NamedTuple):
    """What M models did, step by step; NaN where a model was not finite.

    loss : (steps, M) training loss in nats, before the step's update
    eval_steps : steps done at each evaluation, (E,)
    valid_loss, valid_accuracy : (E, M) on the validation rows
    parts : (2, E, M) by name, such a loss and accuracy of each part
    """

    loss: Tensor
    eval_steps: list[int]
    valid_loss: Tensor
    valid_accuracy: Tensor
    parts: dict[str, Tensor]


def train_stacked(
    models: Sequence[DecoderLM],
    data: Sequence[DataSource],
    config: TrainConfig,
    rates: Sequence[float] | None = None,
    *,
    parts: Mapping[str, DataSource] | None = None,
    backend: str = "eager",
    compile: bool = False,
    workers: int = 0,
    progress: bool = True,
) -> Curves:
    """Train models side by side, in place; each as ``train`` would alone.

    Parameters
    ----------
    models : M models of one configuration, on one device
    data : M sources
        That of each model; models with the same object see the same rows,
        which are then made once.
    config : TrainConfig
        Shared by all; ``lr`` only where rates are not given.
    rates : M peak learning rates, optional
        The schedule's shape stays the config's.
    parts : sources by name, optional
        Further validation: all models are measured on each by itself, on as
        many batches as on their own data.
    backend : str
        Of the attention. "eager" is right everywhere, and its maps are small
        where rows are short. "sdpa" is FlashAttention, on CUDA and where
        values are as wide as keys: of PyTorch's other kernels cuDNN's gives
        NaN gradients under vmap (torch 2.11), and one refuses it.
    compile : bool
        Compile loss and update; on CUDA the step is one graph in any case.
    workers : int
        Processes that make batches ahead of the step; 0 makes them in line.

    Raises
    ------
    ValueError
        If the numbers of models, sources and rates differ, a source has other
        ids than the models, or the models are of several configurations.

    Notes
    -----
    A model whose loss is not finite goes on as NaN, and the others do not
    notice: look at the curves.
    """
    rates = _check(models, data, config, rates, parts or {})
    stack = _Stack(models, config, rates, backend, compile)
    unique = list({id(source): source for source in data}.values())
    number = {id(source): i for i, source in enumerate(unique)}
    of_model = torch.tensor([number[id(s)] for s in data], device=stack.device)
    valid = {
        name: (_validation(sources, config, stack.device), of_source)
        for name, sources, of_source in (
            ("", unique, of_model),
            *((n, [s], of_model * 0) for n, s in (parts or {}).items()),
        )
    }
    losses, eval_steps, measured = [], [], []
    bar = tqdm(total=config.steps, disable=not progress, unit="step")
    step = 0
    with bar:
        groups = _groups(unique, config, "train", config.steps, workers)
        for rows in _each_step(groups, stack.device):
            losses.append(
                stack.step([x[of_model] for x in rows], step).clone()
            )
            step += 1
            if step == config.steps or step % config.eval_every == 0:
                eval_steps.append(step)
                found = {n: stack.evaluate(*v) for n, v in valid.items()}
                measured.append(found)
                bar.set_postfix(loss=f"{found[''][0].nanmean().item():.3f}")
            bar.update()
    stack.write_back(models)
    curves = {
        name: torch.stack([found[name] for found in measured], dim=1).cpu()
        for name in valid
    }
    own = curves.pop("")
    return Curves(torch.stack(losses).cpu(), eval_steps, *own, curves)


def _check(
    models: Sequence[DecoderLM],
    data: Sequence[DataSource],
    config: TrainConfig,
    rates: Sequence[float] | None,
    parts: Mapping[str, DataSource],
) -> list[float]:
    if not models:
        raise ValueError("models: got none, expected one or more")
    rates = [config.lr] * len(models) if rates is None else list(rates)
    for name, given in (("data", data), ("rates", rates)):
        if len(given) != len(models):
            raise ValueError(
                f"{name}: got {len(given)}, expected {len(models)}, one for "
                "each model"
            )
    for i, (model, source) in enumerate(zip(models, data, strict=True)):
        if model.config != models[0].config:
            raise ValueError(
                f"models: number {i} has {model.config}, expected "
                f"{models[0].config} as the first"
            )
        if source.vocab_size != model.config.vocab_size:
            raise ValueError(
                f"data: source {i} has {source.vocab_size} token ids, "
                f"expected the models' {model.config.vocab_size}"
            )
    most = models[0].config.vocab_size
    for name, source in parts.items():
        if source.vocab_size > most:
            raise ValueError(
                f"parts: {name} has {source.vocab_size} token ids, expected "
                f"at most the models' {most}"
            )
    return rates


class _Graph(NamedTuple):
    """A step on rows of one shape: what it reads and writes, and its start."""

    inputs: list[Tensor]
    losses: Tensor
    replay: Callable[[], None]


class _Stack:
    """The stacked weights, their optimiser, and one step of both."""

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
        # RoPE's tables are the same for all: left as they are, not mapped.
        self._buffers = dict(models[0].named_buffers())
        self._weights = {
            name: w.detach().requires_grad_() for name, w in weights.items()
        }
        self._base = copy.deepcopy(models[0]).to("meta")
        parameters = list(self._weights.values())
        self._mean = [torch.zeros_like(p) for p in parameters]
        self._square = [torch.zeros_like(p) for p in parameters]
        # As in training alone: matrices decay, norm weights and lambdas not.
        self._decay = [
            config.weight_decay if p.ndim > 2 else 0.0 for p in parameters
        ]
        # In float64, as Python's own numbers are where a model trains alone.
        self._rates = torch.tensor(rates, dtype=torch.float64).to(self.device)
        self._lr = torch.zeros_like(self._rates)
        self._count = torch.zeros_like(self._rates[0])
        self._losses = torch.vmap(self._loss)
        self._adam = adamw_
        if compile:
            self._losses = torch.compile(self._losses, dynamic=False)
            self._adam = torch.compile(adamw_, dynamic=False)
        self._graphs: dict[tuple[torch.Size, ...], _Graph] = {}

    def step(self, rows: list[Tensor], step: int) -> Tensor:
        """Update every model on its rows; return the losses (M,)."""
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
        """Return mean loss and accuracy of each model, (2, M)."""
        M = len(self._rates)
        totals = torch.zeros(3, M, dtype=torch.float64, device=self.device)
        for rows in batches:
            x, y, *places = (part[of_model] for part in rows)
            logits = torch.vmap(self._logits)(self._weights, x, *places)
            counted = y != IGNORE
            loss = cross_entropy(
                logits.flatten(0, 2).float(),
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
        """Give each model its trained weights."""
        for i, model in enumerate(models):
            own = dict(model.named_parameters())
            for name, stacked in self._weights.items():
                own[name].copy_(stacked[i])

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
        """One model's mean loss over the targets that count, 0-d."""
        logits = self._logits(weights, tokens, places)
        wide = torch.promote_types(logits.dtype, torch.float32)
        return cross_entropy(
            logits.flatten(0, 1).to(wide),
            targets.flatten(),
            ignore_index=IGNORE,
        )

    def _update(self, rows: list[Tensor]) -> Tensor:
        parameters = list(self._weights.values())
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
        """Record one step as a CUDA graph, and leave the state as it was."""
        inputs = [x.clone() for x in rows]
        state = [*self._weights.values(), *self._mean, *self._square]
        before = [x.detach().clone() for x in (*state, self._count)]
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):  # compiles, and lets libraries set up
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
def adamw_(
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
    """Clip each model's gradient by its norm, then AdamW, all in place.

    Tensors are (M, ...), lr is (M,) and count 0-d: the updates so far.
    Loshchilov and Hutter 2019, with PyTorch's order of operations.
    """
    norm = sum(g.flatten(1).square().sum(1) for g in gradients).sqrt()
    clip = (clip_norm / (norm + 1e-6)).clamp(max=1.0)
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


class _Batches(Dataset):
    """Chunks of consecutive steps, each with the batches of S sources."""

    def __init__(
        self,
        sources: list[DataSource],
        config: TrainConfig,
        split: str,
        steps: int,
    ) -> None:
        self._sources, self._batch_size = sources, config.batch_size
        self._split, self._steps = split, steps
        self._counted = self._count_targets()

    def __len__(self) -> int:
        return math.ceil(self._steps / CHUNK)

    def __getitem__(self, index: int) -> list[list[Tensor]]:
        """A chunk: one group of steps, or several where shapes change.

        Of each group inputs, targets and places, (steps, S, B, ...) each.
        Where every row has the same few targets that count, only these are
        kept, with their places; otherwise there are no places.
        """
        first = index * CHUNK
        steps = range(first, min(first + CHUNK, self._steps))
        made = map(self._batch, steps)
        return [
            self._group(first, list(group))
            for _, group in groupby(made, lambda batch: batch[0][0].shape)
        ]

    def _group(
        self, first: int, made: list[tuple[list[Tensor], list[Tensor]]]
    ) -> list[Tensor]:
        """Stack the batches of steps, from ``first`` on or soon after."""
        inputs, targets = (
            torch.stack([torch.stack(of_step) for of_step in parts])
            for parts in zip(*made, strict=True)
        )
        if self._counted is None:
            return [inputs, targets]
        ignored = targets == IGNORE
        if int((~ignored).sum(-1).max()) > self._counted:
            raise ValueError(
                f"data: a row of step {first} or soon after has more targets "
                f"that count than the {self._counted} of every row of step "
                "0, expected as many everywhere"
            )
        places = ignored.int().argsort(dim=-1, stable=True)[
            ..., : self._counted
        ]
        return [inputs, targets.take_along_dim(places, -1), places]

    def _batch(self, step: int) -> tuple[list[Tensor], list[Tensor]]:
        pairs = [
            s.batch(step, self._batch_size, self._split) for s in self._sources
        ]
        return [x for x, _ in pairs], [y for _, y in pairs]

    def _count_targets(self) -> int | None:
        """How many targets a row has, None if that is many or varies."""
        _, targets = self._batch(0)
        rows = torch.cat(targets)
        counts = (rows != IGNORE).sum(1)
        n = int(counts[0])
        few = bool((counts == n).all()) and 0 < n <= rows.shape[1] // 2
        return n if few else None


def _groups(
    sources: list[DataSource],
    config: TrainConfig,
    split: str,
    steps: int,
    workers: int,
) -> Iterator[list[Tensor]]:
    """Steps' batches in order, in groups, made ahead by so many processes."""
    chunks = DataLoader(
        _Batches(sources, config, split, steps),
        batch_size=None,
        num_workers=workers,
        prefetch_factor=2 if workers else None,
    )
    return chain.from_iterable(chunks)


def _each_step(
    groups: Iterable[list[Tensor]], device: torch.device
) -> Iterator[list[Tensor]]:
    """Inputs, targets and places of each step, (S, B, ...) each."""
    for group in groups:
        yield from map(list, zip(*(x.to(device) for x in group), strict=True))


def _validation(
    sources: list[DataSource], config: TrainConfig, device: torch.device
) -> list[list[Tensor]]:
    groups = _groups(sources, config, "valid", config.eval_batches, 0)
    return list(_each_step(groups, device))
