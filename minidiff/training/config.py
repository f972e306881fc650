"""Training configuration, execution options and learning-rate schedule."""

import math
from dataclasses import dataclass

PRECISIONS = ("float32", "bfloat16")
PARALLEL = ("ddp", "fsdp")


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Training configuration.

    It has no seeds: the model and the data have their own.
    """

    steps: int = 800  # enough for the needle task
    batch_size: int = 32  # a step of a small model takes about 30 ms
    lr: float = 3e-3  # the best of a sweep at E = 64; less for wider models
    warmup_steps: int = 50  # the first steps move all weights together
    final_lr_fraction: float = 0.1  # late steps are small, but not zero
    weight_decay: float = 0.1  # the paper's (Table 9); matrices only
    betas: tuple[float, float] = (0.9, 0.95)  # the paper's (Table 9)
    eps: float = 1e-8  # PyTorch's own
    clip_norm: float = 1.0  # customary; the paper does not state its own
    # "bfloat16" is autocast: weights, their gradients and sums stay float32.
    precision: str = "float32"  # bfloat16 is faster only on a GPU
    eval_every: int = 100  # a curve of eight points in 800 steps
    eval_batches: int = 8  # 256 sequences: under a tenth of the time
    checkpoint_every: int = 100  # a kill loses seconds of work at most

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
        _check_name("precision", self.precision, PRECISIONS)


@dataclass(frozen=True, kw_only=True)
class Compute:
    """Execution options: they affect speed, memory and rounding only.

    A run may be resumed with other options than those it was started with.
    """

    # Gradient accumulation: the number of micro-batches of a process's rows.
    accumulate: int = 1  # increase if the rows do not fit in memory
    compile: bool = False  # takes minutes, so only for long runs
    # With several processes: "ddp" keeps all weights in each process, "fsdp"
    # shards them.
    parallel: str = "ddp"  # if model and optimiser fit on one GPU
    backend: str = "auto"  # of differential attention; see diff_attention

    def __post_init__(self) -> None:
        """Raise a ValueError that names the first bad field."""
        _check("accumulate", self.accumulate, 1, math.inf)
        _check_name("parallel", self.parallel, PARALLEL)


def learning_rate(step: int, config: TrainConfig) -> float:
    """Return the learning rate of a step, counted from 0.

    It rises linearly to ``lr`` over the warm-up, then falls linearly to
    ``final_lr_fraction * lr`` at the last step.
    """
    if step < config.warmup_steps:
        return config.lr * (step + 1) / config.warmup_steps
    falling = max(config.steps - 1 - config.warmup_steps, 1)
    done = min((step - config.warmup_steps) / falling, 1.0)
    return config.lr * (1 - (1 - config.final_lr_fraction) * done)


def _check(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        bound = f"{low} or more" if high == math.inf else f"{low} to {high}"
        raise ValueError(f"{name}: got {value}, expected {bound}")


def _check_name(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ValueError(f"{name}: got {value!r}, expected one of {known}")
