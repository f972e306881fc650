"""Chapter 09: first kernels."""

import minidiff.course.kernels  # noqa: F401  # before any kernel is defined
from minidiff.check.ex09 import add, matmul, softmax, transpose

EXERCISES = (
    add.EXERCISE,
    transpose.EXERCISE,
    softmax.EXERCISE,
    matmul.EXERCISE,
)
