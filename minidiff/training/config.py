"""Training configuration, execution options and learning-rate schedule."""

from dataclasses import dataclass

from minidiff.files.checks import (
    LARGEST_COUNT,
    flag,
    integer,
    number,
    one_of,
    shown,
)

PRECISIONS = ("float32", "bfloat16")
PARALLEL = ("ddp", "fsdp")
# Those of diff_attention, listed here because importing it takes seconds.
BACKENDS = ("auto", "eager", "sdpa", "flex", "triton")


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
        """Raise a ValueError or TypeError that names the first bad field."""
        for name in (
            "steps",
            "batch_size",
            "eval_every",
            "eval_batches",
            "checkpoint_every",
        ):
            integer(name, getattr(self, name), 1, LARGEST_COUNT)
        integer("warmup_steps", self.warmup_steps, 0, self.steps)
        for name in ("lr", "eps", "clip_norm"):
            if _number(name, getattr(self, name)) <= 0:
                raise ValueError(
                    f"{name}: got {getattr(self, name)}, expected above 0"
                )
        if not 0 <= _number("final_lr_fraction", self.final_lr_fraction) <= 1:
            raise ValueError(
                f"final_lr_fraction: got {self.final_lr_fraction}, expected "
                "0 to 1"
            )
        if _number("weight_decay", self.weight_decay) < 0:
            raise ValueError(
                f"weight_decay: got {self.weight_decay}, expected 0 or more"
            )
        self._check_betas()
        one_of("precision", self.precision, PRECISIONS)

    def _check_betas(self) -> None:
        betas = self.betas
        if not isinstance(betas, tuple | list):
            raise TypeError(
                f"betas: got {shown(betas)}, expected two numbers in [0, 1)"
            )
        if len(betas) != 2 or not all(
            0 <= _number("betas", b) < 1 for b in betas
        ):
            raise ValueError(
                f"betas: got {shown(betas)}, expected two numbers in [0, 1)"
            )


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
        """Raise a ValueError or TypeError that names the first bad field."""
        integer("accumulate", self.accumulate, 1, LARGEST_COUNT)
        flag("compile", self.compile)
        one_of("parallel", self.parallel, PARALLEL)
        one_of("backend", self.backend, BACKENDS)


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


def _number(name: str, value: float) -> float:
    """Check a finite int or float, which JSON can hold."""
    return number(name, value, kinds=(int, float))
