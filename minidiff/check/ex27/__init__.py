"""Chapter 27: the family of differential attention."""

from minidiff.check.ex27 import groups, integral, mirror, rows

EXERCISES = (
    groups.EXERCISE,
    rows.EXERCISE,
    integral.EXERCISE,
    mirror.EXERCISE,
)
