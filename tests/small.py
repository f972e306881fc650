"""A model and data so small that a test trains in a second."""

import torch

from minidiff import DecoderLM, ModelConfig
from minidiff.data import NeedleTask
from minidiff.train import TrainConfig

TASK = NeedleTask(needles=1, length=12, keys=4, values=4, noise=8)


def model(attention: str = "diff", seed: int = 0) -> DecoderLM:
    """Two layers, 16 wide, for TASK."""
    torch.manual_seed(seed)
    return DecoderLM(
        ModelConfig(
            vocab_size=TASK.vocab_size,
            embed_dim=16,
            num_layers=2,
            num_heads=2,
            max_length=16,
            attention=attention,
        )
    )


def config(**changes: object) -> TrainConfig:
    """Twelve steps, a checkpoint every four."""
    settings = {
        "steps": 12,
        "batch_size": 4,
        "warmup_steps": 2,
        "eval_every": 6,
        "eval_batches": 2,
        "checkpoint_every": 4,
    }
    return TrainConfig(**(settings | changes))
