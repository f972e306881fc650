"""The operator: differential attention, one function and one contract."""

from minidiff.ops.eager import AttentionMaps, attention_maps
from minidiff.ops.interface import diff_attention

__all__ = ["AttentionMaps", "attention_maps", "diff_attention"]
