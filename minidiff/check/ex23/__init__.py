"""Chapter 23: large logits, what they are for, and what they cost."""

from minidiff.check.ex23 import clipped, lead, rounded, top

EXERCISES = (
    top.EXERCISE,
    lead.EXERCISE,
    rounded.EXERCISE,
    clipped.EXERCISE,
)
