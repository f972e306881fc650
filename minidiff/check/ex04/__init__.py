"""Chapter 04: the gradients by hand, in NumPy."""

from minidiff.check.ex04 import (
    finite_differences,
    through_lambda,
    through_norm,
    through_softmax,
    whole_head,
)

EXERCISES = (
    finite_differences.EXERCISE,
    through_softmax.EXERCISE,
    through_lambda.EXERCISE,
    through_norm.EXERCISE,
    whole_head.EXERCISE,
)
