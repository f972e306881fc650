"""Chapter 08: properties that find what published ports get wrong."""

from minidiff.check.ex08 import (
    is_causal,
    rows_sum_to,
    their_rows,
    two_calls,
)

EXERCISES = (
    rows_sum_to.EXERCISE,
    two_calls.EXERCISE,
    is_causal.EXERCISE,
    their_rows.EXERCISE,
)
