"""Chapter 03: differential attention in NumPy."""

from minidiff.check.ex03 import (
    learned_needle,
    normed_heads,
    one_head,
    perfect_partner,
)

EXERCISES = (
    perfect_partner.EXERCISE,
    one_head.EXERCISE,
    normed_heads.EXERCISE,
    learned_needle.EXERCISE,
)
