"""Chapter 15: training, measuring, sampling."""

from minidiff.check.ex15 import interval, schedule, shift, temperature

EXERCISES = (
    shift.EXERCISE,
    schedule.EXERCISE,
    interval.EXERCISE,
    temperature.EXERCISE,
)
