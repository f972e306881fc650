"""Chapter 26: keys that a cache keeps."""

from minidiff.check.ex26 import ask, evict, mean_weight, reweighted

EXERCISES = (
    reweighted.EXERCISE,
    mean_weight.EXERCISE,
    evict.EXERCISE,
    ask.EXERCISE,
)
