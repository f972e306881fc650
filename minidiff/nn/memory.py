"""Memory that a model needs, compared with the machine's before building."""

from minidiff.files.machine import physical_memory
from minidiff.nn.config import ModelConfig, count_parameters

BYTES = 4  # of a float32 number


def check_memory(
    config: ModelConfig, where: object = "config", copies: int = 1
) -> None:
    """Raise ValueError if the machine's memory cannot hold the model.

    ``copies`` counts the numbers kept for each parameter: 1 for the weights
    alone; 4 for training with Adam, which keeps the gradient and two averages
    as well. ``where`` begins the message.
    """
    # The rotary tables are computed in float64 and kept in float32.
    tables = config.max_length * config.head_dim * 2
    numbers = copies * count_parameters(config) + tables
    available = physical_memory()
    if numbers * BYTES > available:
        raise ValueError(
            f"{where}: a model of vocab_size {config.vocab_size}, embed_dim "
            f"{config.embed_dim}, num_layers {config.num_layers} and "
            f"max_length {config.max_length} needs at least "
            f"{numbers * BYTES / 1e9:,.1f} GB, expected at most "
            f"{available / 1e9:,.1f} GB, the memory of this machine"
        )


def check_batch(config: ModelConfig, rows: int, where: object) -> None:
    """Raise ValueError if a training step cannot hold ``rows`` rows at once.

    Counted are one hidden state for each layer and the logits, in 16 bits: a
    step needs several times as much. ``where`` begins the message.
    """
    T = config.max_length
    numbers = config.num_layers * config.embed_dim + config.vocab_size
    needed, available = rows * T * numbers * 2, physical_memory()
    if needed > available:
        raise ValueError(
            f"{where}: a batch of {rows} x {T} tokens needs at least "
            f"{needed / 1e9:,.1f} GB, expected at most "
            f"{available / 1e9:,.1f} GB, the memory of this machine"
        )
