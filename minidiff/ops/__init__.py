"""The operator: differential attention, one function and its backends."""

# The package's attribute `diff_attention` is the function, not its module.
from minidiff.ops.diff_attention import diff_attention
from minidiff.ops.eager import AttentionMaps, attention_maps

__all__ = ["AttentionMaps", "attention_maps", "diff_attention"]
