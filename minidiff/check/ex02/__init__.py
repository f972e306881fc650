"""Chapter 02: attention noise in NumPy."""

from minidiff.check.ex02 import (
    lift_needed,
    mean_share,
    needle_share,
    quietest_lambda,
)

EXERCISES = (
    needle_share.EXERCISE,
    lift_needed.EXERCISE,
    mean_share.EXERCISE,
    quietest_lambda.EXERCISE,
)
