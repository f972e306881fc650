"""Chapter 08: properties that find what published ports get wrong."""

from minidiff.check.ex08 import (
    fold_norm,
    half_order,
    is_causal,
    rows_sum_to,
    two_calls,
)

EXERCISES = (
    rows_sum_to.EXERCISE,
    two_calls.EXERCISE,
    is_causal.EXERCISE,
    half_order.EXERCISE,
    fold_norm.EXERCISE,
)
