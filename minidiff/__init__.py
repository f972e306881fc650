"""minidiff: differential attention, from NumPy loops to a trained model.

Importing this package is cheap: the module behind each name below is loaded
when the name is first used. So the NumPy parts work without PyTorch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.2.0"

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
    "load_tokenizer": "minidiff.training.saved_run",
    "load_diffllama": "minidiff.convert.diffllama",
    "save_diffllama": "minidiff.convert.diffllama",
}

if TYPE_CHECKING:  # the same names for editors and type checkers
    from minidiff.convert.diffllama import load_diffllama as load_diffllama
    from minidiff.convert.diffllama import save_diffllama as save_diffllama
    from minidiff.evaluation.suite import evaluate as evaluate
    from minidiff.nn.attention import MultiheadAttention as MultiheadAttention
    from minidiff.nn.attention import (
        MultiheadDiffAttention as MultiheadDiffAttention,
    )
    from minidiff.nn.attention import (
        MultiheadDiffAttentionV2 as MultiheadDiffAttentionV2,
    )
    from minidiff.nn.cache import KVCache as KVCache
    from minidiff.nn.config import ModelConfig as ModelConfig
    from minidiff.nn.generate import generate as generate
    from minidiff.nn.generate import sample as sample
    from minidiff.nn.model import DecoderLM as DecoderLM
    from minidiff.ops import attention_maps as attention_maps
    from minidiff.ops import diff_attention as diff_attention
    from minidiff.reference import lambda_init as lambda_init
    from minidiff.training.checkpoint import load as load
    from minidiff.training.checkpoint import save as save
    from minidiff.training.config import Compute as Compute
    from minidiff.training.config import TrainConfig as TrainConfig
    from minidiff.training.loop import train as train
    from minidiff.training.saved_run import load_tokenizer as load_tokenizer
else:
    __all__ = sorted(_HOME)

    def __getattr__(name: str) -> object:
        """Load the module of a public name on first use (PEP 562)."""
        if name not in _HOME:
            raise AttributeError(
                f"module 'minidiff' has no attribute {name!r}"
            )
        return getattr(import_module(_HOME[name]), name)

    def __dir__() -> list[str]:
        return sorted([*globals(), *_HOME])
