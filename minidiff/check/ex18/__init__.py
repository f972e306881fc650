"""Chapter 18: comparing losses of trained models."""

from minidiff.check.ex18 import early, flips, paired, until

EXERCISES = (
    paired.EXERCISE,
    flips.EXERCISE,
    early.EXERCISE,
    until.EXERCISE,
)
