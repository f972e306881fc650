"""Problem set 5: comparing runs."""

from minidiff.check.exP5 import queries, ranks

EXERCISES = (queries.EXERCISE, ranks.EXERCISE)
