"""Largest sizes that are accepted from files, options and arguments.

Each is far above what is in use today. Without them, a size from a damaged
file or a mistyped option would take all memory or run for ever.
"""

from minidiff.files.checks import shown

MOST_TOKENS = 2**20
"""Largest vocabulary of a tokenizer that is trained."""

MOST_ROWS = 2**24
"""Largest number of rows, windows or rounds."""

MOST_STEPS = 2**40
"""Largest number of steps, tokens or characters."""

MOST_SEED = 2**63 - 1
"""Largest seed, as PyTorch takes it."""

# Sizes of a model, by the names of ModelConfig.
LIMITS = {
    "vocab_size": 2**24,
    "embed_dim": 2**18,
    "num_layers": 2**12,
    "num_heads": 2**14,
    "num_kv_heads": 2**14,
    "ffn_dim": 2**20,
    "max_length": 2**24,
}


def check_limit(name: str, value: int, limit: int | None = None) -> None:
    """Raise ValueError if a size of a model is above its limit.

    The limit is that of ``name`` in LIMITS if it is not given.
    """
    limit = LIMITS[name] if limit is None else limit
    if value > limit:
        raise ValueError(
            f"{name}: got {shown(value)}, expected at most {limit}"
        )
