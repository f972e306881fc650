"""Chapter 18: comparing losses of trained models."""

from minidiff.check.ex18 import bits, early, flips, paired, until

EXERCISES = (
    bits.EXERCISE,
    paired.EXERCISE,
    flips.EXERCISE,
    early.EXERCISE,
    until.EXERCISE,
)
