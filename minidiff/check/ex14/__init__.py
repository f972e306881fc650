"""Chapter 14: text to tokens, and how training works."""

from minidiff.check.ex14 import adamw, merge, pack, seeds

EXERCISES = (
    merge.EXERCISE,
    pack.EXERCISE,
    adamw.EXERCISE,
    seeds.EXERCISE,
)
