"""Chapter 01: attention from scratch, in NumPy."""

from minidiff.check.ex01 import (
    causal_map,
    multi_head,
    safe_softmax,
    soft_lookup,
)

EXERCISES = (
    soft_lookup.EXERCISE,
    safe_softmax.EXERCISE,
    causal_map.EXERCISE,
    multi_head.EXERCISE,
)
