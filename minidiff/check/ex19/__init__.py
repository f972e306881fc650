"""Chapter 19: counts and maps, measured."""

from minidiff.check.ex19 import fisher, harder, shares

EXERCISES = (fisher.EXERCISE, shares.EXERCISE, harder.EXERCISE)
