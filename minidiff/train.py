"""Training: AdamW, a learning rate that rises and falls, and a log."""

import math
import os
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_
from tqdm import tqdm

from minidiff.data.source import IGNORE, DataSource
from minidiff.model import DecoderLM
from minidiff.run import Run
from minidiff.stopping import Stopped, Stopping


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How to train; the model's seed and the data's are set before."""

    steps: int = 800  # the needle race ends within this many
    batch_size: int = 32  # a step of a small model stays near 30 ms
    lr: float = 3e-3  # the best of a sweep at E = 64; less for wider models
    warmup_steps: int = 50  # Adam's averages need some steps to settle
    final_lr_fraction: float = 0.1  # small last steps, yet still learning
    weight_decay: float = 0.1  # the paper's (Table 9); matrices only
    betas: tuple[float, float] = (0.9, 0.95)  # the paper's (Table 9)
    eps: float = 1e-8  # PyTorch's own
    clip_norm: float = 1.0  # customary; the paper does not state its own
    eval_every: int = 100  # a curve of eight points in 800 steps
    eval_batches: int = 8  # 256 windows: under a tenth of the time
    checkpoint_every: int = 100  # seconds of work lost at most

    def __post_init__(self) -> None:
        """Raise a ValueError that names the first bad field."""
        for name in (
            "steps",
            "batch_size",
            "eval_every",
            "eval_batches",
            "checkpoint_every",
        ):
            _check(name, getattr(self, name), 1, math.inf)
        _check("warmup_steps", self.warmup_steps, 0, self.steps)
        _check("final_lr_fraction", self.final_lr_fraction, 0, 1)
        _check("weight_decay", self.weight_decay, 0, math.inf)
        for name in ("lr", "eps", "clip_norm"):
            value = getattr(self, name)
            if not 0 < value < math.inf:
                raise ValueError(f"{name}: got {value}, expected above 0")
        if len(self.betas) != 2 or not all(0 <= b < 1 for b in self.betas):
            raise ValueError(
                f"betas: got {self.betas}, expected two numbers in [0, 1)"
            )


class Evaluation(NamedTuple):
    """Mean loss in nats and share of targets that were the model's first."""

    loss: float
    accuracy: float


def learning_rate(step: int, config: TrainConfig) -> float:
    """Return the rate of a step, counted from 0.

    Rises linearly to ``lr`` over the warm-up, then falls linearly to
    ``final_lr_fraction * lr`` at the last step.
    """
    if step < config.warmup_steps:
        return config.lr * (step + 1) / config.warmup_steps
    falling = max(config.steps - 1 - config.warmup_steps, 1)
    done = min((step - config.warmup_steps) / falling, 1.0)
    return config.lr * (1 - (1 - config.final_lr_fraction) * done)


@torch.no_grad()
def evaluate(
    model: DecoderLM, data: DataSource, *, batches: int, batch_size: int
) -> Evaluation:
    """Measure a model on the first validation batches: always the same."""
    total = torch.zeros(3, dtype=torch.float64)
    training = model.training
    model.eval()
    for step in range(batches):
        inputs, targets = _batch(model, data, step, batch_size, "valid")
        logits, kept = model(inputs), targets != IGNORE
        logits, targets = logits[kept].float(), targets[kept]
        loss = torch.nn.functional.cross_entropy(
            logits, targets, reduction="sum"
        )
        right = (logits.argmax(-1) == targets).sum()
        sums = (loss.item(), right.item(), len(targets))
        total += torch.tensor(sums, dtype=torch.float64)
    model.train(training)
    loss, right, count = total.tolist()
    return Evaluation(loss / count, right / count)


def train(
    model: DecoderLM,
    data: DataSource,
    config: TrainConfig,
    *,
    run_dir: str | os.PathLike[str] | None = None,
    resume: bool = False,
    progress: bool = True,
) -> list[dict[str, Any]]:
    """Train a model in place and return the log, one record a step.

    Parameters
    ----------
    model : DecoderLM
        On the device where it is to be trained.
    data : DataSource
        Gives the batch of each step by its number.
    config : TrainConfig
    run_dir : path, optional
        Folder for ``log.jsonl`` and ``checkpoint.safetensors``; made if
        missing. Without it nothing is written.
    resume : bool
        Go on where the run in ``run_dir`` stopped, however it stopped. The
        losses are those of a run that never stopped, bit for bit on a CPU
        with the same number of threads.
    progress : bool
        Show a bar.

    Returns
    -------
    Records with ``step`` (from 0), ``loss`` (nats), ``lr``, ``grad_norm``
    (before clipping) and ``tokens`` (seen so far); after an evaluation also
    ``valid_loss`` and ``valid_accuracy``.

    Raises
    ------
    ValueError
        If ``run_dir`` holds a run and ``resume`` is not set, or holds one of
        another model, data or config: names the field.
    FloatingPointError
        If loss or gradient is not finite. The last good checkpoint stays.
    OSError
        If the disk is full. The last good checkpoint stays.
    Stopped
        A KeyboardInterrupt: with ``run_dir``, Ctrl-C or SIGTERM lets the step
        end and saves a checkpoint first. A second Ctrl-C breaks off.
    """
    if data.vocab_size != model.config.vocab_size:
        raise ValueError(
            f"data: got {data.vocab_size} token ids, expected the model's "
            f"vocab_size {model.config.vocab_size}"
        )
    optimizer = _optimizer(model, config)
    if resume and run_dir is None:
        raise ValueError("resume: got True without run_dir, expected both")
    run, records = None, []
    if run_dir is not None:
        settings = {"data": data.describe(), "config": asdict(config)}
        run = Run(Path(run_dir), model, optimizer, settings)
        records = run.resume() if resume else run.begin()
    model.train()
    bar = tqdm(
        total=config.steps,
        initial=len(records),
        disable=not progress,
        unit="step",
    )
    # Without a folder nothing can be saved, so nothing should wait.
    stopping = nullcontext() if run is None else Stopping()
    with bar, stopping as stop:
        for step in range(len(records), config.steps):
            record = _step(model, data, optimizer, step, config)
            last = step + 1 == config.steps
            if last or (step + 1) % config.eval_every == 0:
                measured = evaluate(
                    model,
                    data,
                    batches=config.eval_batches,
                    batch_size=config.batch_size,
                )
                record["valid_loss"] = measured.loss
                record["valid_accuracy"] = measured.accuracy
            records.append(record)
            if run is not None:
                run.log(record)
                due = (step + 1) % config.checkpoint_every == 0
                if last or due or stop.asked:
                    run.checkpoint(step + 1)
            bar.set_postfix(loss=f"{record['loss']:.3f}", refresh=False)
            bar.update()
            if stop is not None and stop.asked and not last:
                raise Stopped(
                    f"stopped after {step + 1} of {config.steps} steps, "
                    f"saved in {run_dir}"
                )
    return records


def _step(
    model: DecoderLM,
    data: DataSource,
    optimizer: torch.optim.Optimizer,
    step: int,
    config: TrainConfig,
) -> dict[str, Any]:
    lr = learning_rate(step, config)
    for group in optimizer.param_groups:
        group["lr"] = lr
    inputs, targets = _batch(model, data, step, config.batch_size, "train")
    loss = model.loss(inputs, targets)
    optimizer.zero_grad()
    loss.backward()
    norm = clip_grad_norm_(model.parameters(), config.clip_norm)
    record = {
        "step": step,
        "loss": loss.item(),
        "lr": lr,
        "grad_norm": norm.item(),
        "tokens": (step + 1) * inputs.numel(),
    }
    # Checked before the update, so that the weights are still good ones.
    for name in ("loss", "grad_norm"):
        if not math.isfinite(record[name]):
            raise FloatingPointError(
                f"{name} is {record[name]} at step {step}, expected a finite "
                f"number: try a lower lr than {config.lr} or a longer "
                f"warm-up than {config.warmup_steps} steps"
            )
    optimizer.step()
    return record


def _optimizer(model: DecoderLM, config: TrainConfig) -> torch.optim.AdamW:
    # Decay pulls towards zero: right for matrices, wrong for norm weights,
    # whose neutral value is 1, and for the lambda vectors.
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    vectors = [p for p in model.parameters() if p.ndim < 2]
    groups = [
        {"params": matrices, "weight_decay": config.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        groups, lr=config.lr, betas=config.betas, eps=config.eps
    )


def _batch(
    model: DecoderLM, data: DataSource, step: int, batch_size: int, split: str
) -> tuple[Tensor, Tensor]:
    device = next(model.parameters()).device
    inputs, targets = data.batch(step, batch_size, split)
    return inputs.to(device), targets.to(device)


def _check(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        bound = f"{low} or more" if high == math.inf else f"{low} to {high}"
        raise ValueError(f"{name}: got {value}, expected {bound}")
