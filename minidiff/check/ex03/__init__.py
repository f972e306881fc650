"""Chapter 03: differential attention in NumPy."""

from minidiff.check.ex03 import (
    difference,
    lam_of_layer,
    normed_heads,
    one_head,
    signal_to_noise,
)

EXERCISES = (
    difference.EXERCISE,
    one_head.EXERCISE,
    signal_to_noise.EXERCISE,
    lam_of_layer.EXERCISE,
    normed_heads.EXERCISE,
)
