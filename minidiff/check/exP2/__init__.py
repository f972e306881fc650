"""Problem set 2: a layer goes to work."""

from minidiff.check.exP2 import (
    diff_end,
    extend,
    ordinary_heads,
    ragged_step,
)

EXERCISES = (
    extend.EXERCISE,
    ragged_step.EXERCISE,
    ordinary_heads.EXERCISE,
    diff_end.EXERCISE,
)
