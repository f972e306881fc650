"""Chapter 16: generation with a cache."""

from minidiff.check.ex16 import sizes, step, stream, top_p

EXERCISES = (
    sizes.EXERCISE,
    step.EXERCISE,
    top_p.EXERCISE,
    stream.EXERCISE,
)
