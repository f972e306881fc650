"""Chapter 00: a first exercise, to see how exercises work."""

from minidiff.check.ex00 import subtract

EXERCISES = (subtract.EXERCISE,)
