"""Chapter 09: first kernels."""

import minidiff.course.kernels  # noqa: F401  # before any kernel is defined
from minidiff.check.ex09 import (
    add,
    column_sums,
    grid,
    halve,
    hidden,
    matmul,
    mean,
    outer,
    row_sums,
    running_max,
    softmax,
    transpose,
    view,
)

EXERCISES = (
    add.EXERCISE,
    transpose.EXERCISE,
    softmax.EXERCISE,
    matmul.EXERCISE,
    grid.EXERCISE,
    outer.EXERCISE,
    view.EXERCISE,
    halve.EXERCISE,
    column_sums.EXERCISE,
    row_sums.EXERCISE,
    running_max.EXERCISE,
    hidden.EXERCISE,
    mean.EXERCISE,
)
