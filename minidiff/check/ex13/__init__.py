"""Chapter 13: roofline and benchmark."""

from minidiff.check.ex13 import floors, intensity, ratio, step_bytes

EXERCISES = (
    intensity.EXERCISE,
    floors.EXERCISE,
    step_bytes.EXERCISE,
    ratio.EXERCISE,
)
