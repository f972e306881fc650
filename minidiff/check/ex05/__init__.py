"""Chapter 05: the multi-head module in PyTorch."""

from minidiff.check.ex05 import (
    diff_heads_v2,
    learned_lambda,
    repeat_pairs,
    split_pairs,
)

EXERCISES = (
    learned_lambda.EXERCISE,
    split_pairs.EXERCISE,
    repeat_pairs.EXERCISE,
    diff_heads_v2.EXERCISE,
)
