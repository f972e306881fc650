"""Chapter 11: two softmaxes, one walk, one subtraction."""

from minidiff.check.ex11 import (
    both_branches,
    combined,
    epilogue,
    registers,
)

EXERCISES = (
    both_branches.EXERCISE,
    registers.EXERCISE,
    epilogue.EXERCISE,
    combined.EXERCISE,
)
