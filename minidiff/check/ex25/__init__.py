"""Chapter 25: eight-bit codes, errors that do not cancel, one signed map."""

from minidiff.check.ex25 import codes, growth, values

EXERCISES = (
    codes.EXERCISE,
    growth.EXERCISE,
    values.EXERCISE,
)
