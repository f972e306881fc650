"""minidiff: differential attention, from NumPy loops to a trained model.

Importing this package is cheap: each name below loads its module when it is
first used, so the NumPy parts work where PyTorch is not installed.
"""

from importlib import import_module

__version__ = "0.1.0"

_HOME = {
    "diff_attention": "minidiff.ops",
    "attention_maps": "minidiff.ops",
    "lambda_init": "minidiff.reference",
    "MultiheadAttention": "minidiff.nn.attention",
    "MultiheadDiffAttention": "minidiff.nn.attention",
    "MultiheadDiffAttentionV2": "minidiff.nn.attention",
    "ModelConfig": "minidiff.nn.config",
    "DecoderLM": "minidiff.nn.model",
    "KVCache": "minidiff.nn.cache",
    "generate": "minidiff.nn.generate",
    "sample": "minidiff.nn.generate",
    "train": "minidiff.training.loop",
    "evaluate": "minidiff.evaluation.suite",
    "TrainConfig": "minidiff.training.config",
    "Compute": "minidiff.training.config",
    "save": "minidiff.training.checkpoint",
    "load": "minidiff.training.checkpoint",
    "load_diffllama": "minidiff.convert.diffllama",
    "save_diffllama": "minidiff.convert.diffllama",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> object:
    """Load the home module of a public name on first use (PEP 562)."""
    if name not in _HOME:
        raise AttributeError(f"module 'minidiff' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
