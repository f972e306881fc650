"""Problem set 1: a head that never sees the whole row."""

from minidiff.check.exP1 import (
    best_lam,
    branch_backward,
    merge,
    running_sum,
    streamed_branch,
)

EXERCISES = (
    running_sum.EXERCISE,
    merge.EXERCISE,
    streamed_branch.EXERCISE,
    best_lam.EXERCISE,
    branch_backward.EXERCISE,
)
