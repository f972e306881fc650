"""Chapter 22: where answers come from, and how many it takes to tell."""

from minidiff.check.ex22 import coverage, needed, source, statements

EXERCISES = (
    source.EXERCISE,
    coverage.EXERCISE,
    statements.EXERCISE,
    needed.EXERCISE,
)
