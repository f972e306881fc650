"""Chapter 12: the fused backward pass."""

from minidiff.check.ex12 import one_tile, prepare, queries_walk, units

EXERCISES = (
    prepare.EXERCISE,
    one_tile.EXERCISE,
    queries_walk.EXERCISE,
    units.EXERCISE,
)
