"""Chapter 15: a training measured, sampled from, and looked into."""

from minidiff.check.ex15 import bits, copies, removed, temperature

EXERCISES = (
    bits.EXERCISE,
    temperature.EXERCISE,
    removed.EXERCISE,
    copies.EXERCISE,
)
