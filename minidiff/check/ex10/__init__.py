"""Chapter 10: flash attention, forward."""

from minidiff.check.ex10 import causal, edges, log_sum, step

EXERCISES = (
    log_sum.EXERCISE,
    step.EXERCISE,
    edges.EXERCISE,
    causal.EXERCISE,
)
