"""Chapter 14: text to tokens, and how training works."""

from minidiff.check.ex14 import adamw, fit, merge, pack, schedule

EXERCISES = (
    merge.EXERCISE,
    pack.EXERCISE,
    adamw.EXERCISE,
    schedule.EXERCISE,
    fit.EXERCISE,
)
