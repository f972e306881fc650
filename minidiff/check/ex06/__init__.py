"""Chapter 06: one formula, five ways to compute it."""

from minidiff.check.ex06 import (
    cache_reads,
    call_flops,
    four_narrow,
    one_call,
)

EXERCISES = (
    call_flops.EXERCISE,
    four_narrow.EXERCISE,
    one_call.EXERCISE,
    cache_reads.EXERCISE,
)
