"""Problem set 4: the same, or not."""

from minidiff.check.exP4 import draft, labs, packed, parts, shares

EXERCISES = (
    packed.EXERCISE,
    parts.EXERCISE,
    shares.EXERCISE,
    draft.EXERCISE,
    labs.EXERCISE,
)
