"""Chapter 24: effects of parts, many contrasts, and what a gain can do."""

from minidiff.check.ex24 import effects, fold, holm, path

EXERCISES = (
    effects.EXERCISE,
    holm.EXERCISE,
    fold.EXERCISE,
    path.EXERCISE,
)
