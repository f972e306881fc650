"""Chapter 13: roofline and benchmark."""

from minidiff.check.ex13 import floors, intensity, ratio

EXERCISES = (intensity.EXERCISE, floors.EXERCISE, ratio.EXERCISE)
