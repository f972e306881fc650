"""Chapter 23: large logits, what they are for, and what they cost."""

from minidiff.check.ex23 import by_query, lead, rounded, top

EXERCISES = (
    top.EXERCISE,
    lead.EXERCISE,
    rounded.EXERCISE,
    by_query.EXERCISE,
)
