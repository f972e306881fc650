"""Problem set 3: one token against a long cache."""

import minidiff.course.kernels  # noqa: F401

# isort: split
from minidiff.check.exP3 import join, plan, split, window

EXERCISES = (
    split.EXERCISE,
    join.EXERCISE,
    plan.EXERCISE,
    window.EXERCISE,
)
