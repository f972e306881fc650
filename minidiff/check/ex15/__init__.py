"""Chapter 15: a training measured, sampled from, and looked into."""

from minidiff.check.ex15 import bits, copies, removed, temperature

EXERCISES = (
    temperature.EXERCISE,
    bits.EXERCISE,
    removed.EXERCISE,
    copies.EXERCISE,
)
