"""Chapter 17: gradients of parts, the ring, bytes and speeds."""

from minidiff.check.ex17 import factor, ring, sent, tokens

EXERCISES = (
    factor.EXERCISE,
    ring.EXERCISE,
    sent.EXERCISE,
    tokens.EXERCISE,
)
