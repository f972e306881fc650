"""Chapter 16: generation with a cache."""

from minidiff.check.ex16 import draw, sizes, step, top_p

EXERCISES = (
    step.EXERCISE,
    sizes.EXERCISE,
    draw.EXERCISE,
    top_p.EXERCISE,
)
