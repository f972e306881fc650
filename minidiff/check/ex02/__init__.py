"""Chapter 02: attention noise in NumPy."""

from minidiff.check.ex02 import (
    best_temperature,
    lift_needed,
    mean_share,
    needle_share,
    quietest_lambda,
)

EXERCISES = (
    needle_share.EXERCISE,
    lift_needed.EXERCISE,
    mean_share.EXERCISE,
    best_temperature.EXERCISE,
    quietest_lambda.EXERCISE,
)
