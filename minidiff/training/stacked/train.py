"""Training loop of a stack of models."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from minidiff.data.protocol import DataSource
from minidiff.nn.model import DecoderLM
from minidiff.training.bars import progress_bar
from minidiff.training.config import TrainConfig
from minidiff.training.stacked.batches import (
    each_step,
    step_groups,
    validation,
)
from minidiff.training.stacked.stack import Stack


class Curves(NamedTuple):
    """Training and validation curves of M models.

    A value is NaN where the model was not finite.

    loss : (steps, M) training loss in nats, before the step's update
    eval_steps : number of steps done at each of the E evaluations
    valid_loss, valid_accuracy : (E, M) on the validation rows
    parts : by name, (2, E, M) loss and accuracy on further validation sources
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
    """Train M models at once, in place, each as ``train`` would train it.

    Parameters
    ----------
    models : M models of one configuration, on one device
    data : M sources
        One for each model. Models with the same source object get the same
        rows, which are then made only once.
    config : TrainConfig
        Used for all models; its ``lr`` only if ``rates`` are not given.
    rates : M peak learning rates, optional
        The rest of the schedule is the config's.
    parts : sources by name, optional
        Further validation sources. All models are measured on each of them
        separately, on as many batches as on their own data.
    backend : str
        Of the attention. "eager" is right everywhere, and its maps are small
        where rows are short. "triton" is for differential attention on CUDA.
        "sdpa" is for softmax attention there, and is FlashAttention alone:
        under vmap cuDNN's kernel gives NaN gradients and the
        memory-efficient one refuses its own layout (torch 2.11).
    compile : bool
        Compile the loss and the update. On CUDA the step is one CUDA graph
        with or without this.
    workers : int
        Number of processes that prepare batches ahead; with 0 they are made
        in this process.
    progress : bool
        Show a progress bar.

    Raises
    ------
    ValueError
        If the numbers of models, sources and rates differ, a source has
        another vocabulary size than the models, or the models differ in their
        configuration or in which weights are frozen.

    Notes
    -----
    A model whose loss is not finite continues with NaN weights, without an
    error and without effect on the other models: check the curves.
    """
    rates = _check(models, data, config, rates, parts or {})
    stack = Stack(models, config, rates, backend, compile)
    unique = list({id(source): source for source in data}.values())
    number = {id(source): i for i, source in enumerate(unique)}
    of_model = torch.tensor([number[id(s)] for s in data], device=stack.device)
    valid = {
        name: (validation(sources, config, stack.device), of_source)
        for name, sources, of_source in (
            ("", unique, of_model),
            *((n, [s], of_model * 0) for n, s in (parts or {}).items()),
        )
    }
    losses, eval_steps, measured = [], [], []
    name = f"{len(models)} x {models[0].config.attention}"
    bar = progress_bar(name, unique, config.steps, shown=progress)
    step = 0
    with bar:
        groups = step_groups(unique, config, "train", config.steps, workers)
        for rows in each_step(groups, stack.device):
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
    return Curves(
        torch.stack(losses).cpu(), eval_steps, own[0], own[1], curves
    )


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
        for (name, p), q in zip(
            model.named_parameters(), models[0].parameters(), strict=True
        ):
            if p.requires_grad != q.requires_grad:
                raise ValueError(
                    f"models: number {i} and the first differ in whether "
                    f"{name} is frozen, expected the same weights"
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
