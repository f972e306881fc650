"""Problem set 6: eight bits, fewer keys, one branch more."""

from minidiff.check.exP6 import bound, branch, cost

EXERCISES = (bound.EXERCISE, cost.EXERCISE, branch.EXERCISE)
