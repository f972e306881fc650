"""Reference implementation: differential attention in NumPy and float64.

The definitions are implemented twice, once as loops that follow the formulas
and once with arrays. Tests check that both agree, and compare every faster
implementation with them.
"""

from minidiff.reference.attention import attention_map
from minidiff.reference.backward import Gradients, diff_attention_backward
from minidiff.reference.differential import (
    diff_attention,
    diff_head,
    diff_map,
)
from minidiff.reference.finite import numerical_gradient
from minidiff.reference.lam import lambda_init, lambda_value
from minidiff.reference.loops import (
    attention_map_loops,
    diff_head_loops,
    headwise_norm_loops,
)
from minidiff.reference.norm import headwise_norm, headwise_norm_backward
from minidiff.reference.softmax import softmax, softmax_backward

__all__ = [
    "Gradients",
    "attention_map",
    "attention_map_loops",
    "diff_attention",
    "diff_attention_backward",
    "diff_head",
    "diff_head_loops",
    "diff_map",
    "headwise_norm",
    "headwise_norm_backward",
    "headwise_norm_loops",
    "lambda_init",
    "lambda_value",
    "numerical_gradient",
    "softmax",
    "softmax_backward",
]
