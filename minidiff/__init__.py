"""minidiff: differential attention, from NumPy loops to a trained model.

Importing this package is cheap: each name below loads its module when it is
first used, so the NumPy parts work where PyTorch is not installed.
"""

from importlib import import_module

__version__ = "0.1.0"

_HOME = {
    "diff_attention": "minidiff.ops",
    "MultiheadAttention": "minidiff.attention",
    "MultiheadDiffAttention": "minidiff.attention",
    "MultiheadDiffAttentionV2": "minidiff.attention",
    "ModelConfig": "minidiff.model",
    "DecoderLM": "minidiff.model",
    "save": "minidiff.checkpoint",
    "load": "minidiff.checkpoint",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> object:
    """Load the home module of a public name on first use (PEP 562)."""
    if name not in _HOME:
        raise AttributeError(f"module 'minidiff' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
