"""Chapter 20: positions, losses and answers in long rows."""

from minidiff.check.ex20 import base, effective, repetitions, stretches, turns

EXERCISES = (
    turns.EXERCISE,
    base.EXERCISE,
    stretches.EXERCISE,
    effective.EXERCISE,
    repetitions.EXERCISE,
)
