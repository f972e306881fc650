"""Problem set 5: comparing runs."""

from minidiff.check.exP5 import groups, power, queries, ranks

EXERCISES = (
    queries.EXERCISE,
    ranks.EXERCISE,
    groups.EXERCISE,
    power.EXERCISE,
)
